// Writes the content of regular files.

#pragma once
#include <archive.h>
#include <archive_entry.h>
#include <stdint.h>

// Of one file, holes included. They cost an archive nothing, but whoever copies the file out of the container.
#define MAX_FILE_BYTES (1ull << 40)

// What all files hold so far, holes left out; and what that takes in whole blocks, more than once if a file is not written in order.
extern uint64_t content_bytes, disk_bytes;

void write_content(int fd, struct archive *tar, struct archive_entry *entry, const char *path);
