// Makes a blank's mounts. Sources are the kernel's own file systems and the launcher's root; nothing here has seen an image.

#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { PATH_BYTES = 256, CONFINED = MS_NOSUID | MS_NOEXEC | MS_NODEV };

static const struct { const char *name; unsigned major, minor; } devices[] = {
    {"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
};

static const struct { const char *target, *name; } links[] = {
    {"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"},
    {"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"}, {"/proc/kcore", "core"},
};

static const char *const directories[] = {
    "/stage/proc", "/stage/sys", "/stage/dev", "/stage/w",
};

// Over TARGET, read-only for good.
static int bind_readonly(const char *source, const char *target, unsigned long flags) {
    if (mount(source, target, NULL, MS_BIND, NULL)) return -1;
    return mount(NULL, target, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | flags, NULL);
}

// ---- /dev -------------------------------------------------------------------------------------------------------------

// The host's node, by a descriptor that has been looked at: what is mounted is the device that its name says.
static int bind_device(const char *name, dev_t device) {
    char source[PATH_BYTES], target[PATH_BYTES];
    struct stat status;
    snprintf(source, sizeof source, "/nodes/%s", name);
    snprintf(target, sizeof target, "/stage/dev/%s", name);
    int node = open(source, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (node < 0 || fstat(node, &status)) return -1;
    if (!S_ISCHR(status.st_mode) || status.st_rdev != device) return errno = ENODEV, -1;
    int file = open(target, O_CREAT | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (file >= 0) close(file);
    int tree = open_tree(node, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    close(node);
    if (file < 0 || tree < 0) return -1;
    int result = move_mount(tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH);
    close(tree);
    return result;
}

static const char *stage_dev(const struct plan *plan) {
    char options[64];
    snprintf(options, sizeof options, "mode=755,size=64k,uid=%u,gid=%u", plan->uid_base, plan->uid_base);
    if (mount("tmpfs", "/stage/dev", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_STRICTATIME, options)) return "/dev";
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        if (bind_device(devices[i].name, makedev(devices[i].major, devices[i].minor))) return devices[i].name;
    }
    if (chdir("/stage/dev")) return "/dev";
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        if (symlink(links[i].target, links[i].name)) return links[i].name;
    }
    if (mkdir("pts", 0755) || mkdir("shm", 0755) || mkdir("mqueue", 0755)) return "/dev";
    // Group 5 is `tty` in every distribution; the numbers are the container's, shifted.
    snprintf(options, sizeof options, "newinstance,ptmxmode=0666,mode=0620,gid=%u", plan->uid_base + 5);
    if (mount("devpts", "pts", "devpts", MS_NOSUID | MS_NOEXEC, options)) return "/dev/pts";
    snprintf(options, sizeof options, "mode=1777,size=64m,uid=%u,gid=%u", plan->uid_base, plan->uid_base);
    if (mount("shm", "shm", "tmpfs", CONFINED, options)) return "/dev/shm";
    if (mount("mqueue", "mqueue", "mqueue", CONFINED, NULL)) return "/dev/mqueue";
    return chdir("/") ? "/" : NULL;
}

// ---- /proc and /sys ---------------------------------------------------------------------------------------------------

// What is covered is opened once, looked at, and covered by that descriptor. What this kernel does not have needs no cover.
static int cover(const char *path) {
    char place[PATH_BYTES], by_descriptor[64];
    struct stat status;
    snprintf(place, sizeof place, "/stage%s", path);
    int fd = open(place, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? 0 : -1;
    snprintf(by_descriptor, sizeof by_descriptor, "/proc/self/fd/%d", fd);
    int result = fstat(fd, &status);
    if (result == 0 && S_ISDIR(status.st_mode)) {
        // The mount's own flags are set before it is visible.
        int tree = open_tree(AT_FDCWD, "/empty", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};
        result = tree < 0 || mount_setattr(tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes) ||
                         move_mount(tree, "", fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)
                     ? -1 : 0;
        if (tree >= 0) close(tree);
    } else if (result == 0) {
        result = mount("/nodes/null", by_descriptor, NULL, MS_BIND, NULL);
    }
    close(fd);
    return result;
}

static int set_readonly(const char *path) {
    char place[PATH_BYTES];
    snprintf(place, sizeof place, "/stage%s", path);
    return bind_readonly(place, place, CONFINED) && errno != ENOENT ? -1 : 0;
}

const char *stage_mounts(const struct plan *plan) {
    // Not this root's: a tmpfs of the blank's own, so that its directories are nobody else's.
    if (mount("stage", "/stage", "tmpfs", CONFINED, "mode=0711,size=64k")) return "stage";
    for (size_t i = 0; i < sizeof directories / sizeof *directories; i++) {
        if (mkdir(directories[i], 0755)) return directories[i];
    }
    if (mount("proc", "/stage/proc", "proc", CONFINED, NULL)) return "/proc";
    if (mount("sysfs", "/stage/sys", "sysfs", CONFINED | MS_RDONLY, NULL)) return "/sys";
    for (uint32_t i = 0; i < plan->mask_count; i++) {
        if (cover(plan->masks[i])) return plan->masks[i];
    }
    for (uint32_t i = 0; i < plan->readonly_count; i++) {
        if (set_readonly(plan->readonly[i])) return plan->readonly[i];
    }
    return stage_dev(plan);
}

// ---- Cgroups ----------------------------------------------------------------------------------------------------------

static const char *stage_v1(const struct plan *plan) {
    if (mount("cgroup", "/stage/sys/fs/cgroup", "tmpfs", CONFINED, "mode=755,size=4k")) return "/sys/fs/cgroup";
    for (uint32_t i = 0; i < plan->hierarchy_count; i++) {
        char place[PATH_BYTES];
        snprintf(place, sizeof place, "/stage/sys/fs/cgroup/%s", plan->hierarchies[i]);
        if (mkdir(place, 0755)) return plan->hierarchies[i];
        if (mount("cgroup", place, "cgroup", CONFINED | MS_RDONLY, plan->hierarchies[i])) return plan->hierarchies[i];
    }
    if (mount(NULL, "/stage/sys/fs/cgroup", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | CONFINED, NULL)) return "/sys/fs/cgroup";
    return NULL;
}

const char *stage_cgroups(const struct plan *plan) {
    if (plan->cgroup_version == 1) {
        const char *failed = stage_v1(plan);
        if (failed) return failed;
    } else if (mount("cgroup2", "/stage/sys/fs/cgroup", "cgroup2", CONFINED | MS_RDONLY, NULL)) {
        return "/sys/fs/cgroup";
    }
    return NULL;
}
