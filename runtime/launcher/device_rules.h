// Device rules on cgroup v2, where no file takes them: a BPF program on the cgroup that all sandboxes are below.

#pragma once
#include "policy.h"

// Allows reading and writing of the policy's character devices; refuses every other use of a device, and making nodes.
// 0, or -1 and errno. The program stays as long as the cgroup does.
int rule_devices_v2(int cgroup_fd, const struct policy *policy);

// The program alone, not attached to anything: its descriptor, or -1 and errno. For hosts whose cgroups are v1, to try it.
int load_device_program(const struct policy *policy);
