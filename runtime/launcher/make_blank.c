// Makes a blank: cgroups, namespaces, pipes, and the process that will be PID 1.
//
//   maker ── clone ──▶ donor        new user, network, IPC and UTS namespaces; does nothing, and is ended when they are taken
//         ── clone ──▶ blank        new mount and PID namespaces; the launcher's child, not the maker's (CLONE_PARENT)
//
// Why a donor: who owns a namespace is who was whose root when it was made. A container's network must belong to its user
// namespace, or its root could not bind port 80. Its mounts must not, or the blank could not mount an overlay with what only the
// host's root may set (trusted.overlay.*); and so nothing in the container has any say over them.

#include "jobs.h"
#include "plan.h"

#include "../init/report.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READY_MS = 10000, MAX_TRIES = 3 };

// The kernel itself writes *PID, before the child can run and before this process can be killed.
static pid_t clone_process(uint64_t flags, int exit_signal, int *pidfd, pid_t *pid, int cgroup) {
    struct clone_args args = {.flags = flags | CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)pidfd,
                              .exit_signal = (uint64_t)exit_signal};
    if (pid) args.flags |= CLONE_PARENT_SETTID, args.parent_tid = (uint64_t)(uintptr_t)pid;
    if (cgroup >= 0) args.flags |= CLONE_INTO_CGROUP, args.cgroup = (uint64_t)cgroup;
    return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

static void close_all(int *fds, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (fds[i] >= 0) close(fds[i]);
        fds[i] = -1;
    }
}

// ---- The donor --------------------------------------------------------------------------------------------------------

struct donor {
    pid_t pid;
    int pidfd, userns;
};

static int write_map(pid_t pid, const char *file, uid_t base) {
    char path[64], map[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    int length = snprintf(map, sizeof map, "0 %u %d\n", base, ID_COUNT), fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t written = write(fd, map, (size_t)length);
    int error = errno;
    close(fd);
    errno = error;
    return written == length ? 0 : -1;
}

static int open_namespace(pid_t pid, const char *name) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/%s", pid, name);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static int start_donor(struct donor *donor, uid_t base) {
    pid_t maker = getpid();
    donor->pid = clone_process(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS, SIGCHLD, &donor->pidfd, NULL, -1);
    if (donor->pid == 0) {
        // It is to hold nothing of its maker's, and not to outlive it: not even one that died before the next line.
        close_range(0, ~0U, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != maker) _exit(EXIT_FAILURE);
        for (;;) pause();
    }
    if (donor->pid < 0) return -1;
    if (write_map(donor->pid, "uid_map", base) || write_map(donor->pid, "gid_map", base)) return -1;
    donor->userns = open_namespace(donor->pid, "user");
    return donor->userns < 0 ? -1 : 0;
}

static void end_donor(struct donor *donor) {
    if (donor->pid > 0) {
        kill(donor->pid, SIGKILL);
        waitpid(donor->pid, NULL, 0);
    }
    close_all((int[]){donor->pidfd, donor->userns}, 2);
}

// ---- The blank --------------------------------------------------------------------------------------------------------

// The program's side of its streams, and the blank's side of its channel.
struct inside {
    int streams[3], channel;
};

// A launcher that is spared when memory runs out does not hand that on to its containers. A host that forbids it lowers nothing.
static void forget_oom_score(void) {
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    ssize_t written = fd < 0 ? 0 : write(fd, "0", 1);
    (void)written;
    if (fd >= 0) close(fd);
}

// Between clone and exec: what the blank is to have is put where plan.h says, and all else is closed. A number asked for may be
// that of a descriptor which is still to be moved, so everything moves up first.
static _Noreturn void execute_blank(const struct maker_context *context, const struct donor *donor, const struct inside *inside) {
    const int wanted[] = {inside->streams[0], inside->streams[1], inside->streams[2], inside->channel,
                          context->plan_fd, donor->userns, donor->pidfd, context->blank_fd};
    enum { COUNT = sizeof wanted / sizeof *wanted, PROGRAM = COUNT - 1, UP = 64 };
    int moved[COUNT];
    for (int i = 0; i < COUNT; i++) moved[i] = fcntl(wanted[i], F_DUPFD, UP);
    for (int i = 0; i < COUNT; i++) {
        if (dup3(moved[i], i, i == PROGRAM ? O_CLOEXEC : 0) < 0) _exit(EXIT_FAILURE);
    }
    close_range(COUNT, ~0U, 0);
    forget_oom_score();
    setsid();
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    char *argv[] = {"mayfly-blank", NULL}, *envp[] = {NULL};
    syscall(SYS_execveat, PROGRAM, "", argv, envp, AT_EMPTY_PATH);
    _exit(EXIT_FAILURE);
}

static int make_streams(struct inside *inside, int outside[BLANK_DESCRIPTORS], uid_t owner) {
    int channel[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel)) return -1;
    inside->channel = channel[0], outside[MADE_CHANNEL] = channel[1];
    for (int i = 0; i < 3; i++) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC)) return -1;
        inside->streams[i] = ends[i == 0 ? 0 : 1], outside[MADE_STDIN + i] = ends[i == 0 ? 1 : 0];
        // A program of whatever user may reopen them as /dev/stdout.
        if (fchown(inside->streams[i], owner, owner)) return -1;
    }
    return 0;
}

// READY, or the blank's own word for what it could not do.
static bool await_ready(int channel, char text[JOB_TEXT_BYTES]) {
    struct pollfd fd = {.fd = channel, .events = POLLIN};
    struct report message;
    snprintf(text, JOB_TEXT_BYTES, "it did not become ready");
    if (poll(&fd, 1, READY_MS) != 1 || recv(channel, &message, sizeof message, MSG_WAITALL) != sizeof message) return false;
    if (message.kind == REPORT_READY) return true;
    ssize_t got = recv(channel, text, JOB_TEXT_BYTES - 1, 0);
    if (got > 0) text[got] = '\0';
    return false;
}

// What a half-made blank leaves: the launcher reaps the process, whose parent it is.
static void unmake(const struct maker_context *context, const char *name, int outside[BLANK_DESCRIPTORS]) {
    if (outside[MADE_PIDFD] >= 0) {
        struct pollfd gone = {.fd = outside[MADE_PIDFD], .events = POLLIN};
        syscall(SYS_pidfd_send_signal, outside[MADE_PIDFD], SIGKILL, NULL, 0);
        poll(&gone, 1, READY_MS);
    }
    close_all(outside, BLANK_DESCRIPTORS);
    for (int i = 0; i < MAX_TRIES && cgroup_remove(context->cgroups, name); i++) usleep(1000);
}

static const char *start_blank(const struct maker_context *context, const char *name, const struct donor *donor,
                               struct inside *inside, int outside[BLANK_DESCRIPTORS], pid_t *pid, pid_t *shared_pid) {
    int cgroup = cgroup_descriptor(context->cgroups, name);
    *pid = clone_process(CLONE_NEWNS | CLONE_NEWPID | CLONE_PARENT, 0, &outside[MADE_PIDFD], shared_pid, cgroup);
    if (*pid == 0) execute_blank(context, donor, inside);
    if (cgroup >= 0) close(cgroup);
    close_all((int *)inside, sizeof *inside / sizeof(int));
    if (*pid < 0) return "clone";
    // It makes its mounts meanwhile.
    if (context->cgroups->version == 1 && cgroup_join(context->cgroups, name, *pid)) return "join";
    char go = BLANK_GO;
    if (send(outside[MADE_CHANNEL], &go, 1, MSG_NOSIGNAL) != 1) return "go";
    outside[MADE_MOUNTS] = open_namespace(*pid, "mnt");
    return outside[MADE_MOUNTS] < 0 ? "mount namespace" : NULL;
}

void make_blank(const struct maker_context *context, const struct job *job, struct job_result *result,
                int outside[BLANK_DESCRIPTORS], pid_t *blank_pid) {
    struct donor donor = {.pidfd = -1, .userns = -1};
    struct inside inside = {{-1, -1, -1}, -1};
    uid_t base = context->policy->uid_base;
    memset(outside, -1, BLANK_DESCRIPTORS * sizeof *outside);
    if (cgroup_make(context->cgroups, job->name)) job_failed(result, "cgroup", "make", errno);
    else if (make_streams(&inside, outside, base)) job_failed(result, "blank", "streams", errno);
    else if (start_donor(&donor, base)) job_failed(result, "blank", "namespaces", errno);
    if (!result->failed) {
        const char *failed = start_blank(context, job->name, &donor, &inside, outside, &result->pid, blank_pid);
        if (failed) job_failed(result, "blank", failed, errno);
        else if (!await_ready(outside[MADE_CHANNEL], result->text)) job_failed(result, "blank", NULL, 0);
    }
    close_all((int *)&inside, sizeof inside / sizeof(int));
    end_donor(&donor);
    if (result->failed) unmake(context, job->name, outside);
}
