// Where the kernel shows its cgroups on this host: one hierarchy (v2), or one a controller (v1, and "hybrid").

#pragma once
#include "cgroup.h"

// Fills in version, hierarchies and controllers of CGROUPS from MOUNTINFO, a path. NULL, or what is missing.
const char *hierarchies_find(struct cgroups *cgroups, const char *mountinfo);
