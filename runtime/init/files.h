// Files that the run brings along: written by PID 1 before the program starts, from what comes first on its stdin.
//
//   struct file_header, path, bytes ─ again for each file ─ struct file_header with path_bytes 0; then the program's own input
//
// A path that ends in a slash is that of a directory, without bytes.
//
// One idea: it is done inside the container, as its root. Whatever symlinks the image has, a path leads to nothing that the program
// could not reach itself, and what is written counts against its limits.

#pragma once
#include "account.h"

#include <stdint.h>

struct file_header {
    uint32_t path_bytes; // Without a NUL.
    uint32_t mode;       // Permissions; the file is the account's.
    uint64_t bytes;
};

// 0, or an errno and in *WHICH the number of the file that could not be written. Takes no more from stdin than is its own.
int place_files(const struct account *account, unsigned *which);
