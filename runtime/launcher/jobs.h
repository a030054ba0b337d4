// What the launcher asks of its makers, and hears back: one datagram each way over a SOCK_SEQPACKET pair, one job at a time.
//
//   JOB_MAKE     a blank of that name           → pidfd, channel, stdin, stdout, stderr, mount namespace (SCM_RIGHTS)
//   JOB_FURNISH  with its pidfd and its channel → the blank stands in its image's root, its limits are set, it has been told to go
//   JOB_REMOVE   with its mount namespace       → mounts and cgroups are gone
//
// A maker is the launcher's child and trusted as the launcher is. It dies with the launcher, and holds nothing between two jobs.

#pragma once
#include "cgroup.h"
#include "protocol.h"

#include <sys/types.h>

enum job_kind { JOB_MAKE = 1, JOB_FURNISH = 2, JOB_REMOVE = 3 };

enum {
    MAX_LAYER_BYTES = 128 * 1024, // Of all paths: a datagram has to hold them.
    BLANK_DESCRIPTORS = 6,
    JOB_DESCRIPTORS = 2, // That may go with a job.
    STAGE_BYTES = 16,
    JOB_TEXT_BYTES = 240,
};

// The order of a made blank's descriptors.
enum { MADE_PIDFD, MADE_CHANNEL, MADE_STDIN, MADE_STDOUT, MADE_STDERR, MADE_MOUNTS };

struct job {
    uint32_t kind;
    uint32_t layers;
    uint64_t disk_bytes;
    struct cgroup_limits limits;
    char name[CGROUP_NAME_BYTES]; // Of the blank: its cgroup's.
    char hostname[MAX_HOSTNAME_BYTES + 1];
    char layer_paths[]; // Below the directory of layers; NUL-terminated each, the topmost first.
};

struct job_result {
    uint32_t failed;
    pid_t pid; // Of a blank.
    char stage[STAGE_BYTES];
    char text[JOB_TEXT_BYTES];
};

struct maker_context {
    const struct cgroups *cgroups;
    const struct policy *policy;
    int plan_fd;   // struct plan, sealed
    int blank_fd;  // the program mayfly-blank
    int home_fd;   // pidfd of the launcher: the namespaces that a maker comes back to
};

// The whole life of a maker process: does one job after the other until SOCKET has no other end. Does not return. BLANK_PID, which is
// shared with the launcher, holds the PID of a blank from the moment it is there until its result is sent.
_Noreturn void maker_run(int socket, const struct maker_context *context, pid_t *blank_pid);

// The jobs. Each fills in *RESULT; when it has failed nothing of it is left, but a blank that could not be furnished, which is
// the launcher's to remove.
void make_blank(const struct maker_context *context, const struct job *job, struct job_result *result,
                int descriptors[BLANK_DESCRIPTORS], pid_t *blank_pid);
void furnish_blank(const struct maker_context *context, const struct job *job, int pidfd, int channel, struct job_result *result);

void job_failed(struct job_result *result, const char *stage, const char *what, int error);
