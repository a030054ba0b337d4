// Builds the launcher's root and enters it.

#include "root.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static const struct { const char *path; unsigned major, minor; } nodes[] = {
    {"nodes/null", 1, 3}, {"nodes/zero", 1, 5}, {"nodes/full", 1, 7},
    {"nodes/random", 1, 8}, {"nodes/urandom", 1, 9}, {"nodes/tty", 5, 0},
};

static const char *make_nodes(void) {
    if (mkdir("nodes", 0700)) return "nodes";
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
        // The mode is not the umask's to take from.
        if (mknod(nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)) || chmod(nodes[i].path, 0666))
            return nodes[i].path;
    }
    return NULL;
}

static const char *fill_root(const char *layers) {
    if (mkdir("layers", 0700) || mkdir("proc", 0555) || mkdir("empty", 0555) || mkdir("stage", 0755)) return "directories";
    if (mount(layers, "layers", NULL, MS_BIND | MS_REC, NULL)) return layers;
    // What is only read cannot be written to by a mistake either; overlayfs takes a read-only layer as it is.
    struct mount_attr readonly = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV};
    if (mount_setattr(AT_FDCWD, "layers", AT_RECURSIVE, &readonly, sizeof readonly)) return layers;
    if (mount("proc", "proc", "proc", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL)) return "proc";
    return make_nodes();
}

const char *root_enter(const char *run_dir, const char *layers) {
    if (unshare(CLONE_NEWNS)) return "unshare";
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) return "private mounts";
    if (mount("mayfly", run_dir, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=1m")) return run_dir;
    if (chdir(run_dir)) return run_dir;
    const char *failed = fill_root(layers);
    if (failed) return failed;
    if (syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/")) return "pivot_root";
    return NULL;
}
