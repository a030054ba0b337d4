// What a blank has to know of the policy, as one value in sealed memory that every blank of the host maps: the launcher has
// understood the text, and no blank parses anything.

#pragma once
#include "policy.h"

#include <linux/filter.h>

enum {
    PLAN_PATH_BYTES = 64,
    PLAN_HIERARCHIES = 8,
    // What a blank is started with, besides the program's stdin, stdout and stderr at 0, 1 and 2.
    BLANK_CHANNEL_FD = 3, // REPORT_FD: to the launcher (and, until the blank is ready, to its maker)
    BLANK_PLAN_FD = 4,
    BLANK_USERNS_FD = 5,  // The user namespace that it becomes root of.
    BLANK_DONOR_FD = 6,   // pidfd of the process whose network, IPC and UTS namespaces it takes.
};

struct plan {
    uint32_t uid_base;
    uint32_t cgroup_version;
    uint64_t capabilities;
    uint32_t mask_count, readonly_count, rlimit_count, hierarchy_count;
    char masks[MAX_PATHS][PLAN_PATH_BYTES];
    char readonly[MAX_PATHS][PLAN_PATH_BYTES];
    struct { uint32_t resource; uint64_t soft, hard; } rlimits[MAX_RLIMITS];
    char hierarchies[PLAN_HIERARCHIES][PLAN_PATH_BYTES]; // v1: controllers to mount below /sys/fs/cgroup.
    uint32_t filter_count;
    struct sock_filter filter[]; // The compiled seccomp program.
};

// maker → blank, twice: it is in its cgroup; and, once it has its program, it stands in its image's root.
enum { BLANK_GO = 'g' };

// launcher → blank: the program, before the image. Followed by the strings of frame.h's
// run_request.program: user, workdir, arguments, environment, patterns.
struct blank_program {
    uint32_t bytes; // Of the strings.
    uint32_t arguments, environment;
    uint16_t rows, columns;
    uint32_t flags; // enum run_flag
    uint32_t patterns, artifact_files;
    uint64_t artifact_bytes;
};
