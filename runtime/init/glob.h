// Which paths a list of patterns names, asked name by name on the way down from the root.

#pragma once
#include "artifacts.h"

#include <stdbool.h>

// How far a directory's path has been matched: bit N of a pattern says that its names before N are behind, and the bit after its last
// name that all below is named.
struct progress {
    uint64_t of[MAX_ARTIFACT_PATTERNS];
};

// Cuts the patterns into their names, in place. Those with too many are passed over. Returns where the root stands.
struct progress glob_begin(const struct artifacts *wanted);
// One NAME further down. False if no pattern leads there.
bool glob_step(const struct progress *from, const char *name, struct progress *to);
// Whether what stands there is named itself: a file, or a directory with all that is in it.
bool glob_is_named(const struct progress *progress);
