// A maker: a process of the launcher's for what may block. It takes a job, does it, answers, and waits for the next.

#include "jobs.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REMOVE_MS = 10000, REMOVE_PAUSE_US = 500, MAX_PAUSE_US = 20000 };

void job_failed(struct job_result *result, const char *stage, const char *what, int error) {
    result->failed = 1;
    snprintf(result->stage, sizeof result->stage, "%s", stage);
    if (what) snprintf(result->text, sizeof result->text, "%s: %s", what, strerror(error));
}

// A killed process leaves its cgroup within a few milliseconds; what sits in a disk's queue may take longer.
static void remove_blank(const struct maker_context *context, const struct job *job, struct job_result *result) {
    useconds_t pause = REMOVE_PAUSE_US;
    for (useconds_t waited = 0; cgroup_remove(context->cgroups, job->name); waited += pause) {
        if (waited > REMOVE_MS * 1000) return job_failed(result, "cgroup", "remove", errno);
        cgroup_kill(context->cgroups, job->name);
        usleep(pause);
        if (pause < MAX_PAUSE_US) pause *= 2;
    }
}

// The job, and the descriptors that come with it; -1 for those that do not. False when the launcher is gone.
static bool receive_job(int socket, struct job *job, size_t room, int descriptors[JOB_DESCRIPTORS]) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(JOB_DESCRIPTORS * sizeof(int))];
    } control;
    struct iovec bytes = {.iov_base = job, .iov_len = room};
    struct msghdr letter = {.msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t got;
    while ((got = recvmsg(socket, &letter, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {}
    if (got < (ssize_t)sizeof *job) return false;
    struct cmsghdr *header = CMSG_FIRSTHDR(&letter);
    memset(descriptors, -1, JOB_DESCRIPTORS * sizeof *descriptors);
    if (header && header->cmsg_type == SCM_RIGHTS) memcpy(descriptors, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
    return true;
}

static void send_result(int socket, const struct job_result *result, const int descriptors[BLANK_DESCRIPTORS]) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(BLANK_DESCRIPTORS * sizeof(int))];
    } control = {.header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
                            .cmsg_len = CMSG_LEN(BLANK_DESCRIPTORS * sizeof(int))}};
    struct iovec bytes = {.iov_base = (void *)result, .iov_len = sizeof *result};
    struct msghdr letter = {.msg_iov = &bytes, .msg_iovlen = 1};
    if (descriptors) {
        memcpy(CMSG_DATA(&control.header), descriptors, BLANK_DESCRIPTORS * sizeof(int));
        letter.msg_control = &control;
        letter.msg_controllen = sizeof control;
    }
    if (sendmsg(socket, &letter, MSG_NOSIGNAL) < 0) _exit(EXIT_FAILURE);
}

static void close_descriptors(int descriptors[JOB_DESCRIPTORS]) {
    for (int i = 0; i < JOB_DESCRIPTORS; i++) {
        if (descriptors[i] >= 0) close(descriptors[i]);
        descriptors[i] = -1;
    }
}

static void do_job(const struct maker_context *context, int socket, const struct job *job, int descriptors[JOB_DESCRIPTORS],
                   pid_t *blank_pid) {
    struct job_result result = {0};
    int made[BLANK_DESCRIPTORS];
    bool is_made = false;
    if (job->kind == JOB_MAKE) {
        *blank_pid = 0;
        make_blank(context, job, &result, made, blank_pid);
        is_made = !result.failed;
    } else if (job->kind == JOB_FURNISH) {
        furnish_blank(context, job, descriptors[0], descriptors[1], &result);
    } else {
        // The last to hold the mount namespace: closing it unmounts everything in it, here and not in the launcher.
        close_descriptors(descriptors);
        remove_blank(context, job, &result);
    }
    close_descriptors(descriptors);
    send_result(socket, &result, is_made ? made : NULL);
    for (int i = 0; is_made && i < BLANK_DESCRIPTORS; i++) close(made[i]);
}

_Noreturn void maker_run(int socket, const struct maker_context *context, pid_t *blank_pid) {
    size_t room = sizeof(struct job) + MAX_LAYER_BYTES;
    struct job *job = malloc(room);
    prctl(PR_SET_NAME, "mayfly-maker");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!job || cgroup_join_devices(context->cgroups)) _exit(EXIT_FAILURE);
    for (int descriptors[JOB_DESCRIPTORS]; receive_job(socket, job, room, descriptors);)
        do_job(context, socket, job, descriptors, blank_pid);
    _exit(EXIT_SUCCESS);
}
