// What the program was asked to do, and the limits of what a layer may do.

#pragma once

#include <stdint.h>

#include "inflate.h"

// The range of a container's uids and gids: what the user namespace maps, and all that an entry may name.
#define ID_COUNT 65536u

// Set once, by main.
struct unpack_options {
  const char *directory;
  // Where the blob is kept as it came; NULL for nowhere.
  const char *keep;
  enum compression compression;
  uint64_t uid_base, max_blob_bytes, max_entries, max_bytes, max_path, max_depth;
};
extern struct unpack_options options;
