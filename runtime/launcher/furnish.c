// Gives a blank its image: mounts the overlay, moves what stage.h has made into it, pivots, and sets the limits.
//
// A maker does this from outside, as the host's root in the blank's mount and UTS namespaces: the blank has no power left to do
// it, and nothing of the image runs yet. Paths of the image are looked up without following any link; layers are looked up below
// the directory of layers and nowhere else.

#include "jobs.h"
#include "plan.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    OPTIONS_BYTES = 4096, // mount(2) takes one page of options.
};

static int open_beneath(int at, const char *path, uint64_t flags) {
    struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    return (int)syscall(SYS_openat2, at, path, &how, sizeof how);
}

// ---- The root ---------------------------------------------------------------------------------------------------------

// lowerdir=40:41:42, each an open directory. What is open is closed by the caller, whatever happens.
static const char *open_layers(const struct job *job, char *options, int opened[MAX_LAYERS], unsigned *count) {
    int layers = open("/layers", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (layers < 0) return "the directory of layers";
    const char *path = job->layer_paths, *failed = NULL;
    size_t length = strlen(options);
    for (uint32_t i = 0; i < job->layers && !failed; i++, path += strlen(path) + 1) {
        int fd = open_beneath(layers, path, O_PATH | O_DIRECTORY);
        if (fd < 0) {
            failed = path;
            break;
        }
        opened[(*count)++] = fd;
        length += (size_t)snprintf(options + length, OPTIONS_BYTES - length, "%s%d", i ? ":" : "", fd);
        if (length >= OPTIONS_BYTES - 1) errno = E2BIG, failed = "layers";
    }
    close(layers);
    return failed;
}

// A tmpfs of the run's own holds the writable layer: its size is the limit, and it needs no clean-up.
static const char *mount_root(const struct maker_context *context, const struct job *job) {
    uid_t owner = context->policy->uid_base;
    char options[OPTIONS_BYTES] = "upperdir=/stage/w/upper,workdir=/stage/w/work,lowerdir=", size[64];
    int opened[MAX_LAYERS];
    unsigned count = 0;
    snprintf(size, sizeof size, "mode=0711,size=%llu", (unsigned long long)job->disk_bytes);
    if (mount("mayfly", "/stage/w", "tmpfs", MS_NODEV, size)) return "writable layer";
    if (mkdir("/stage/w/upper", 0755) || mkdir("/stage/w/work", 0700) || mkdir("/stage/w/root", 0755)) return "writable layer";
    if (chown("/stage/w/upper", owner, owner)) return "writable layer";
    const char *failed = open_layers(job, options, opened, &count);
    if (!failed && chdir("/proc/self/fd")) failed = "/proc/self/fd";
    if (!failed && mount("mayfly", "/stage/w/root", "overlay", MS_NODEV, options)) failed = "overlay";
    int error = errno;
    while (count > 0) close(opened[--count]);
    errno = error;
    return failed;
}

// Moves a mount to its place in the image, which is made if the image lacks it and is refused if it is a link or a file.
static int move_into(int root, const char *name) {
    char source[32];
    snprintf(source, sizeof source, "/stage/%s", name);
    int place = open_beneath(root, name, O_PATH | O_DIRECTORY);
    if (place < 0 && errno == ENOENT && mkdirat(root, name, 0755) == 0) place = open_beneath(root, name, O_PATH | O_DIRECTORY);
    if (place < 0) return -1;
    int result = move_mount(AT_FDCWD, source, place, "", MOVE_MOUNT_T_EMPTY_PATH);
    int error = errno;
    close(place);
    errno = error;
    return result;
}

// The blank's root and working directory are the old root's: pivot_root(2) takes them along.
static const char *enter_root(void) {
    static const char *const moved[] = {"proc", "sys", "dev"};
    int root = open("/stage/w/root", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) return "root";
    for (size_t i = 0; i < sizeof moved / sizeof *moved; i++) {
        if (move_into(root, moved[i])) return close(root), moved[i];
    }
    bool pivoted = fchdir(root) == 0 && syscall(SYS_pivot_root, ".", ".") == 0;
    close(root);
    if (!pivoted) return "pivot_root";
    return umount2(".", MNT_DETACH) ? "the old root" : NULL;
}

// ---- The job ----------------------------------------------------------------------------------------------------------

static const char *furnish_inside(const struct maker_context *context, const struct job *job) {
    if (sethostname(job->hostname, strlen(job->hostname))) return "host name";
    const char *failed = mount_root(context, job);
    return failed ? failed : enter_root();
}

void furnish_blank(const struct maker_context *context, const struct job *job, int pidfd, int channel, struct job_result *result) {
    if (cgroup_limit(context->cgroups, job->name, &job->limits)) return job_failed(result, "cgroup", "limits", errno);
    if (setns(pidfd, CLONE_NEWNS | CLONE_NEWUTS)) return job_failed(result, "mount", "namespaces", errno);
    const char *failed = furnish_inside(context, job);
    int error = errno;
    // A maker that cannot come back is of no use to anybody.
    if (setns(context->home_fd, CLONE_NEWNS | CLONE_NEWUTS)) _exit(EXIT_FAILURE);
    if (failed) return job_failed(result, "mount", failed, error);
    // The blank has its program already: said from here, it starts a process switch sooner.
    char go = BLANK_GO;
    if (send(channel, &go, 1, MSG_NOSIGNAL) != 1) job_failed(result, "init", "go", errno);
}
