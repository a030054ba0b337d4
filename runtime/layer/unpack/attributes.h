// What an entry says of its file besides name and content: owner, mode, xattrs, time.

#pragma once
#include <archive.h>
#include <archive_entry.h>
#include <stdint.h>

// Attributes that were left out: the file system does not have them, or they steer the host.
extern uint64_t xattrs_skipped;

// Of a file that is open.
void set_attributes(int fd, struct archive_entry *entry, const char *path);
// Of what cannot be opened without a consequence: a symbolic link, a FIFO.
void set_own_attributes_at(int parent, const char *name, struct archive_entry *entry, const char *path);
struct timespec modified_time(struct archive_entry *entry);

// Directories change while they are filled, so their times are set last.
void remember_directory_time(struct archive_entry *entry, const char *path);
void set_directory_times(void);
