// The cgroups of this host's sandboxes: PARENT/NAME in each hierarchy that limits or counts.
//
//   cgroup_open (once) → cgroup_make → cgroup_join → cgroup_limit → … → cgroup_read → cgroup_kill → cgroup_remove
//
// Works on v1, where each controller may have a hierarchy of its own ("hybrid" included), and on v2. Every call but the first
// may be repeated; removing what is not there is no failure.

#pragma once
#include "policy.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { MAX_HIERARCHIES = 5, CPU_PERIOD_US = 100000, INIT_PIDS = 1, CGROUP_NAME_BYTES = 64 };

enum controller { CONTROLLER_MEMORY, CONTROLLER_CPU, CONTROLLER_CPUACCT, CONTROLLER_PIDS, CONTROLLER_DEVICES, CONTROLLERS };

struct hierarchy {
    char path[256];  // Where it is mounted, as the host sees it.
    char name[64];   // What Linux calls it: "memory", "cpu,cpuacct"; "" for v2.
    int parent_fd;   // Of PARENT in it.
    bool per_sandbox; // Sandboxes have a cgroup each; devices, the same for all, are ruled in PARENT.
};

struct cgroups {
    int version; // 1 (also hybrid) or 2
    unsigned count;
    struct hierarchy hierarchies[MAX_HIERARCHIES];
    int of[CONTROLLERS]; // Index of each controller's hierarchy.
};

struct cgroup_limits {
    uint64_t memory_bytes;
    uint32_t cpu_quota_us, pids;
};

struct cgroup_facts {
    uint64_t cpu_us, throttled_us, peak_memory_bytes, oom_kills;
};

// Finds the hierarchies in MOUNTINFO (a path, in the form of proc_pid_mountinfo(5)), and makes PARENT. NULL, or what is missing: a
// limit that nobody enforces must not be accepted.
const char *cgroup_open(struct cgroups *cgroups, const char *mountinfo, const char *parent);
// Rules the devices of all that is below PARENT. Of whoever owns PARENT: meanwhile containers may be refused a device.
int cgroup_rule_devices(const struct cgroups *cgroups, const struct policy *policy);

// The calls below return 0, or -1 and errno.
int cgroup_make(const struct cgroups *cgroups, const char *name);
// On v1 this waits for an RCU grace period, of some 10 ms on an idle host.
int cgroup_join(const struct cgroups *cgroups, const char *name, pid_t pid);
// Of PARENT's own: whoever is in it, and what it starts, is under its device rules.
int cgroup_join_devices(const struct cgroups *cgroups);
int cgroup_limit(const struct cgroups *cgroups, const char *name, const struct cgroup_limits *limits);
int cgroup_read(const struct cgroups *cgroups, const char *name, struct cgroup_facts *facts);
// What is in it, by cgroup.kill or process by process.
void cgroup_kill(const struct cgroups *cgroups, const char *name);
// Depth first. EBUSY while a process in it has not been reaped.
int cgroup_remove(const struct cgroups *cgroups, const char *name);
// Descriptor of the one cgroup of v2, for CLONE_INTO_CGROUP; -1 on v1.
int cgroup_descriptor(const struct cgroups *cgroups, const char *name);

// Calls EACH with the name of every cgroup below PARENT, once for each hierarchy that has it.
void cgroup_each(const struct cgroups *cgroups, void (*each)(const char *name, void *context), void *context);
