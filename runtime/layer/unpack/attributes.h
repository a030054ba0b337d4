// What an entry says of its file besides name and content: owner, mode, xattrs, time.

#pragma once
#include <archive.h>
#include <archive_entry.h>
#include <stdint.h>
#include <time.h>

// Of one entry. File systems hold less, most of them one block; the kernel at most 64 KiB a value.
#define MAX_XATTRS 128u
#define MAX_XATTR_BYTES (64u << 10)
// Of all directories, whose names are kept until the end: half a million of usual ones fit.
#define MAX_DIRECTORY_NAME_BYTES (64u << 20)

// Attributes that were left out: the file system does not have them, or they steer the host.
extern uint64_t xattrs_skipped;

// Of a file that is open.
void set_attributes(int fd, struct archive_entry *entry, const char *path);
// Owner and time of what cannot be opened without a consequence: a symbolic link, a FIFO. Linux has no xattrs for them.
void set_own_attributes_at(int parent, const char *name, struct archive_entry *entry, const char *path);
struct timespec modified_time(struct archive_entry *entry);

// Directories change while they are filled, so their times are set last; of one that is remembered twice, the later. Those without
// an entry of their own get NO_TIME, so that a layer is the same on every host.
#define NO_TIME ((struct timespec){0})
void remember_directory_time(struct timespec modified, const char *path);
void set_directory_times(void);
