// Turns the entries of a tar into files.

#pragma once
#include <archive.h>
#include <archive_entry.h>
#include <stdint.h>

extern struct unpack_counts {
  uint64_t entries, devices_skipped;
} counts;

void unpack_entry(struct archive *tar, struct archive_entry *entry);
