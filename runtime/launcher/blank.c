// mayfly-blank: PID 1 of a sandbox, made before anybody has asked for it.
//
// It is started by a maker as the host's root, in new mount and PID namespaces, and goes one way only:
//
//   takes the donor's network, IPC and UTS namespaces → makes its mounts → BLANK_GO: it is in its cgroup → takes a cgroup
//   namespace → becomes root of its user namespace → gives up capabilities → no new privileges, seccomp → READY, parked
//
// From there on it can do no more than any program of a container. When a run comes, it is told the program; a maker mounts the
// image from outside (furnish.c), and says BLANK_GO again; what is left to do here is what program.h does. It has read nothing but the launcher's own words until then.

#include "../init/program.h"
#include "plan.h"
#include "protocol.h"
#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_FAILED = 126, KEYCTL_JOIN_SESSION = 1 };

// The maker reads it from the channel in place of READY, and tells it on.
static _Noreturn void fail(const char *what) {
    char text[200];
    int length = snprintf(text, sizeof text, "%s: %s", what, strerror(errno));
    struct report message = {.kind = REPORT_NO_SETUP, .value = (uint32_t)errno};
    ssize_t written = write(BLANK_CHANNEL_FD, &message, sizeof message);
    written = write(BLANK_CHANNEL_FD, text, (size_t)length);
    (void)written;
    _exit(EXIT_FAILED);
}

static const struct plan *map_plan(void) {
    struct stat status;
    if (fstat(BLANK_PLAN_FD, &status)) fail("plan");
    const struct plan *plan = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, BLANK_PLAN_FD, 0);
    if (plan == MAP_FAILED) fail("plan");
    return plan;
}

// If the launcher is gone, nobody is left to keep the deadline. Credentials that change take this back, so it is said twice.
static void die_with_launcher(void) {
    prctl(PR_SET_DUMPABLE, 0);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL)) fail("parent-death signal");
}

static void raise_loopback(void) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request)) fail("loopback");
    close(fd);
}

static void await_go(void) {
    char word = 0;
    if (recv(BLANK_CHANNEL_FD, &word, 1, 0) != 1 || word != BLANK_GO) _exit(EXIT_FAILED);
}

// ---- Giving up --------------------------------------------------------------------------------------------------------

static void become_container_root(void) {
    if (setns(BLANK_USERNS_FD, CLONE_NEWUSER)) fail("user namespace");
    if (setgroups(0, NULL)) fail("groups");
    if (setresgid(0, 0, 0) || setresuid(0, 0, 0)) fail("container root");
}

static rlim_t least(rlim_t a, rlim_t b) {
    return a < b ? a : b;
}

// Never above the host's own hard limit, which only CAP_SYS_RESOURCE could raise.
static void set_limits(const struct plan *plan) {
    for (uint32_t i = 0; i < plan->rlimit_count; i++) {
        __rlimit_resource_t resource = (__rlimit_resource_t)plan->rlimits[i].resource;
        struct rlimit host;
        if (getrlimit(resource, &host)) fail("resource limits");
        struct rlimit limit = {.rlim_cur = least(plan->rlimits[i].soft, host.rlim_max), .rlim_max = least(plan->rlimits[i].hard, host.rlim_max)};
        if (setrlimit(resource, &limit)) fail("resource limits");
    }
}

static void keep_capabilities(uint64_t keep) {
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; capability++) {
        if (!(keep >> capability & 1) && prctl(PR_CAPBSET_DROP, capability)) fail("bounding set");
    }
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    uint32_t low = (uint32_t)keep, high = (uint32_t)(keep >> 32);
    struct __user_cap_data_struct data[2] = {{low, low, 0}, {high, high, 0}};
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) || syscall(SYS_capset, &header, data)) fail("capabilities");
}

static void confine(const struct plan *plan) {
    struct sock_fprog program = {.len = (unsigned short)plan->filter_count, .filter = (struct sock_filter *)plan->filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) fail("no new privileges");
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program)) fail("seccomp");
}

// ---- The program ------------------------------------------------------------------------------------------------------

static void receive(void *bytes, size_t count) {
    for (size_t got = 0; got < count;) {
        ssize_t more = recv(BLANK_CHANNEL_FD, (char *)bytes + got, count - got, 0);
        if (more <= 0 && errno != EINTR) _exit(EXIT_FAILED); // The launcher is gone, or does not want this blank any more.
        if (more > 0) got += (size_t)more;
    }
}

// Points at COUNT strings, one after the other from *AT. NULL-terminated.
static char **point_at_strings(char **at, uint32_t count) {
    char **strings = calloc((size_t)count + 1, sizeof *strings);
    if (!strings) fail("memory");
    for (uint32_t i = 0; i < count; i++, *at += strlen(*at) + 1) strings[i] = *at;
    return strings;
}

static void receive_launch(struct launch *launch) {
    struct blank_program program;
    receive(&program, sizeof program);
    char *text = malloc(program.bytes + 1), *at = text;
    if (!text) fail("memory");
    receive(text, program.bytes);
    text[program.bytes] = '\0';
    launch->user = at, at += strlen(at) + 1;
    launch->workdir = at, at += strlen(at) + 1;
    launch->argv = point_at_strings(&at, program.arguments);
    environ = point_at_strings(&at, program.environment);
    launch->keep_home = program.flags & RUN_KEEP_HOME;
    launch->files = program.flags & RUN_FILES;
    launch->rows = program.rows, launch->columns = program.columns;
    launch->terminal = program.rows > 0;
    launch->artifacts = (struct artifacts){.patterns = point_at_strings(&at, program.patterns), .count = program.patterns,
                                           .max_files = program.artifact_files, .max_bytes = program.artifact_bytes};
}

int main(void) {
    die_with_launcher();
    const struct plan *plan = map_plan();
    if (fcntl(BLANK_CHANNEL_FD, F_SETFD, FD_CLOEXEC)) fail("channel");
    if (setns(BLANK_DONOR_FD, CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)) fail("namespaces");
    // An anonymous one, so that the program has none of the launcher's; here, while root's quota of keys is what counts.
    syscall(SYS_keyctl, KEYCTL_JOIN_SESSION, NULL);
    const char *failed = stage_mounts(plan);
    if (failed) fail(failed);
    raise_loopback();

    await_go();
    if (unshare(CLONE_NEWCGROUP)) fail("cgroup namespace");
    if ((failed = stage_cgroups(plan))) fail(failed);
    set_limits(plan);
    become_container_root();
    keep_capabilities(plan->capabilities);
    confine(plan);
    die_with_launcher();
    for (int fd = BLANK_PLAN_FD; fd <= BLANK_DONOR_FD; fd++) close(fd);
    report(REPORT_READY, 0);

    struct launch launch;
    receive_launch(&launch);
    await_go();
    clock_gettime(CLOCK_MONOTONIC, &launch.begun);
    return run_launch(&launch);
}
