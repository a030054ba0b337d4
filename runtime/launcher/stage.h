// A blank's mounts that are the same for every image, made ahead of need below /stage and moved to their places at RUN.
//
//   /stage/proc  masked and read-only as the plan says     /stage/dev   devices, pts, shm, mqueue
//   /stage/sys   read-only, with its own cgroups           /stage/w     where the writable layer and the root will be
//
// The launcher's own root (root.h) has what they are made from: /nodes (checked device nodes) and /empty.

#pragma once
#include "plan.h"

// Called by the blank as the host's root, in its own mount, PID, network, IPC and UTS namespaces. NULL, or what failed (errno).
const char *stage_mounts(const struct plan *plan);
// The same for what needs the blank's own cgroup namespace.
const char *stage_cgroups(const struct plan *plan);
