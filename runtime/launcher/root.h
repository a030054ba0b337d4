// The launcher's own root: a mount namespace with almost nothing in it, because every blank begins with a copy of it.
//
//   /layers  the images' layers     /proc   of the host     /nodes  six checked device nodes
//   /empty   covers directories     /stage  where a blank makes its mounts

#pragma once

// Leaves the host's mounts behind. What is to be had of them later must be open by then. RUN_DIR is where the host has an empty
// directory for it. NULL, or what failed (errno).
const char *root_enter(const char *run_dir, const char *layers);
