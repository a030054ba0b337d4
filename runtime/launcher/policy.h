// What every sandbox of this host has in common: read once, from a file of lines that runtime/launcher/policy.ts writes from
// the same values as the OCI bundle.
//
//   uid-base 1895825408           host id of container root; 65,536 ids from there are the containers'
//   capability 0                  kept, by number
//   mask /proc/kcore              covered by /dev/null or an empty directory, if it is there
//   readonly /proc/sys
//   device 1 3                    character device that may be read and written; the minor may be *
//   limit 7 1024 4096             setrlimit: resource, soft, hard
//   seccomp default 1             errno of what no rule allows
//   seccomp architecture x86
//   seccomp rule allow|ERRNO name[,name…] [index op value value2]…

#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { MAX_PATHS = 32, MAX_DEVICES = 16, MAX_RLIMITS = 8, MAX_POLICY_BYTES = 256 * 1024, ID_COUNT = 65536 };

struct policy {
    uid_t uid_base;
    uint64_t capabilities; // A bit each.
    unsigned mask_count, readonly_count, device_count, rlimit_count;
    const char *masks[MAX_PATHS], *readonly[MAX_PATHS];
    struct { uint32_t major; int64_t minor; } devices[MAX_DEVICES]; // -1: any minor.
    struct { uint32_t resource; uint64_t soft, hard; } rlimits[MAX_RLIMITS];
    int filter_fd; // The compiled seccomp program: struct sock_filter[], in memory.
};

// Ends the process with a line that names the place of the fault: a policy that is half understood must not be in force.
void policy_read(const char *path, struct policy *policy);
