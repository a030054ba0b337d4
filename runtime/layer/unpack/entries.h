// Turns the entries of a tar into files.

#pragma once
#include <archive.h>
#include <archive_entry.h>
#include <stdint.h>

extern struct unpack_counts {
  uint64_t entries, devices_skipped;
} counts;

// To be called for each file that is made, directories without an entry of their own included: one entry can imply hundreds. Ends
// the program when there are too many.
void count_entry(void);

void unpack_entry(struct archive *tar, struct archive_entry *entry);
