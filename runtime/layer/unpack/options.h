// What the program was asked to do, and the limits of what a layer may do.

#pragma once

#include <stdint.h>

// The range of a container's uids and gids: what the user namespace maps, and all that an entry may name.
#define ID_COUNT 65536u

// Set once, by main.
struct unpack_options {
  const char *directory;
  uint64_t uid_base, max_entries, max_bytes, max_path, max_depth;
};
extern struct unpack_options options;
