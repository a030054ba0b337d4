// floor: what the kernel alone must be paid for a container. No runtime is in it: no image, no supervisor, no output.
//
// For each it makes cgroups, a process in new user, mount, PID, IPC, UTS, network and cgroup namespaces that is root of 65,536
// ids and inside those cgroups, an overlay over a tmpfs as its root directory, with the host's gone from sight; it executes
// /bin/true there, waits for it, and removes the cgroups. It sets no limits, mounts neither /proc nor /dev, and drops nothing:
// what a runtime does on top is the runtime's.
//
//   floor once COUNT PAUSE_MS UID_BASE ROOTFS MOUNTPOINT CGROUP...
//   floor load PARALLEL MS UID_BASE ROOTFS MOUNTPOINT CGROUP...
//   floor joined COUNT PAUSE_MS UID_BASE ROOTFS MOUNTPOINT CGROUP...
//
//   ROOTFS      a directory with a static /bin/true      MOUNTPOINT  an empty directory
//   CGROUP...   a directory of cgroup v2, or one of each v1 hierarchy, to make the containers' cgroups in
//
// On cgroup v1 a process moves into its cgroups once it is there, and each move waits for an RCU grace period; on v2 it is born
// there. In `joined` the container is the child of a process that has moved before the clock is started: cgroups are made,
// joined and removed off the clock, and the difference to `once` is what they cost. See pace.h for pace and output.

#include "pace.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

enum { MAX_CGROUPS = 8, ID_COUNT = 65536, REMOVE_TRIES = 1000 };

static struct {
    long uid_base;
    const char *rootfs, *mountpoint;
    bool is_v2;
    int cgroups; // How many, and the directories to make them in.
    int parents[MAX_CGROUPS];
} setup;

static void write_at(int directory, const char *path, const char *text) {
    int fd = openat(directory, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0) fail("%s: %s", path, strerror(errno));
    close(fd);
}

// ---- Cgroups ----------------------------------------------------------------------------------------------------------

static void make_cgroups(const char *name) {
    for (int i = 0; i < setup.cgroups; i++)
        if (mkdirat(setup.parents[i], name, 0755)) fail("mkdir cgroup %s: %s", name, strerror(errno));
}

static void join_cgroups(const char *name, pid_t pid) {
    char path[NAME_MAX], text[16];
    snprintf(path, sizeof path, "%s/cgroup.procs", name);
    snprintf(text, sizeof text, "%d", (int)pid);
    for (int i = 0; i < setup.cgroups; i++) write_at(setup.parents[i], path, text);
}

static void remove_cgroups(const char *name) {
    for (int i = 0; i < setup.cgroups; i++) {
        // The last process has been waited for, but for a moment its cgroup may not have noticed.
        for (int tries = 0; unlinkat(setup.parents[i], name, AT_REMOVEDIR);) {
            if (errno != EBUSY || ++tries > REMOVE_TRIES) fail("rmdir cgroup %s: %s", name, strerror(errno));
            pause_ms(1);
        }
    }
}

// ---- The container ----------------------------------------------------------------------------------------------------

static void map_ids(pid_t pid) {
    char path[32], map[64];
    snprintf(map, sizeof map, "0 %ld %d", setup.uid_base, ID_COUNT);
    snprintf(path, sizeof path, "/proc/%d/uid_map", (int)pid);
    write_at(AT_FDCWD, path, map);
    snprintf(path, sizeof path, "/proc/%d/gid_map", (int)pid);
    write_at(AT_FDCWD, path, map);
}

// Both mounts go with the mount namespace, and that with its last process.
static void enter_root(void) {
    char options[PATH_MAX + 64];
    snprintf(options, sizeof options, "userxattr,upperdir=upper,workdir=work,lowerdir=%s", setup.rootfs);
    if (mount("floor", setup.mountpoint, "tmpfs", MS_NODEV, "mode=0755")) fail("mount tmpfs: %s", strerror(errno));
    if (chdir(setup.mountpoint)) fail("%s: %s", setup.mountpoint, strerror(errno));
    if (mkdir("upper", 0755) || mkdir("work", 0700) || mkdir("root", 0755)) fail("mkdir: %s", strerror(errno));
    if (mount("floor", "root", "overlay", MS_NODEV, options)) fail("mount overlay: %s", strerror(errno));
    // The old root is put on top of the new one, and taken away: no directory for it is needed (pivot_root(2)).
    if (chdir("root") || syscall(SYS_pivot_root, ".", ".")) fail("pivot_root: %s", strerror(errno));
    if (umount2(".", MNT_DETACH) || chdir("/")) fail("umount: %s", strerror(errno));
}

static _Noreturn void be_container(int go, bool moves) {
    char byte;
    if (read(go, &byte, 1) != 1) _exit(EXIT_FAILURE); // The parent is gone, and has said why.
    if (setresgid(0, 0, 0) || setresuid(0, 0, 0)) fail("setresuid: %s", strerror(errno));
    // A cgroup namespace begins at the cgroup that its maker is in: not before the move.
    if (moves && unshare(CLONE_NEWCGROUP)) fail("unshare: %s", strerror(errno));
    enter_root();
    execve("/bin/true", (char *[]){"true", NULL}, (char *[]){NULL});
    fail("/bin/true: %s", strerror(errno));
}

// From clone to wait. With a `cgroup` the child is put into it, else it stays where we are.
static void run_container(const char *cgroup) {
    int pipe_ends[2];
    if (pipe2(pipe_ends, O_CLOEXEC)) fail("pipe: %s", strerror(errno));
    bool moves = cgroup && !setup.is_v2;
    struct clone_args args = {
        .flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET,
        .exit_signal = SIGCHLD,
    };
    if (!moves) args.flags |= CLONE_NEWCGROUP;
    int born_in = -1;
    if (cgroup && setup.is_v2) {
        born_in = openat(setup.parents[0], cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (born_in < 0) fail("open cgroup: %s", strerror(errno));
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)born_in;
    }
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    if (pid < 0) fail("clone3: %s", strerror(errno));
    if (pid == 0) {
        close(pipe_ends[1]);
        be_container(pipe_ends[0], moves);
    }
    if (born_in >= 0) close(born_in);
    close(pipe_ends[0]);
    map_ids(pid);
    if (moves) join_cgroups(cgroup, pid);
    if (write(pipe_ends[1], "", 1) != 1) fail("go: %s", strerror(errno));
    close(pipe_ends[1]);
    int status;
    if (waitpid(pid, &status, 0) < 0) fail("wait: %s", strerror(errno));
    if (status) fail("the container ended with status %d", status);
}

// ---- What is timed ----------------------------------------------------------------------------------------------------

static void name_next(char *name, size_t size) {
    static unsigned serial;
    snprintf(name, size, "floor-%d-%u", (int)getpid(), serial++);
}

static int64_t time_all(void) {
    char name[64];
    name_next(name, sizeof name);
    int64_t start = now_us();
    make_cgroups(name);
    run_container(name);
    remove_cgroups(name);
    return now_us() - start;
}

// The helper moves first, and rests, as what moving has set off should not be on the clock either.
static _Noreturn void be_joined(const char *name, int result, long rest) {
    join_cgroups(name, getpid());
    pause_ms(rest);
    int64_t start = now_us();
    run_container(NULL);
    int64_t took = now_us() - start;
    if (write(result, &took, sizeof took) != sizeof took) fail("result: %s", strerror(errno));
    _exit(EXIT_SUCCESS);
}

static int64_t time_joined(long rest) {
    char name[64];
    name_next(name, sizeof name);
    make_cgroups(name);
    int ends[2], status;
    if (pipe2(ends, O_CLOEXEC)) fail("pipe: %s", strerror(errno));
    pid_t helper = fork();
    if (helper < 0) fail("fork: %s", strerror(errno));
    if (helper == 0) be_joined(name, ends[1], rest);
    close(ends[1]);
    int64_t took;
    ssize_t got = read(ends[0], &took, sizeof took);
    close(ends[0]);
    if (waitpid(helper, &status, 0) < 0) fail("wait: %s", strerror(errno));
    remove_cgroups(name);
    if (status || got != sizeof took) fail("the helper failed");
    return took;
}

int main(int argc, char *argv[]) {
    if (argc < 8 || argc - 7 > MAX_CGROUPS) fail("usage: floor once|load|joined A B UID_BASE ROOTFS MOUNTPOINT CGROUP...");
    long a = number(argv[2], 1, 1000000), b = number(argv[3], 0, 3600000);
    setup.uid_base = number(argv[4], 1, 4294901760);
    setup.rootfs = argv[5];
    setup.mountpoint = argv[6];
    for (char **path = argv + 7; *path; path++) {
        int fd = open(*path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) fail("%s: %s", *path, strerror(errno));
        setup.parents[setup.cgroups++] = fd;
    }
    struct statfs first;
    if (fstatfs(setup.parents[0], &first)) fail("statfs: %s", strerror(errno));
    setup.is_v2 = first.f_type == CGROUP2_SUPER_MAGIC;

    if (strcmp(argv[1], "once") == 0) pace_once(a, b, time_all);
    else if (strcmp(argv[1], "load") == 0) pace_load(a, b, time_all);
    else if (strcmp(argv[1], "joined") == 0)
        for (long i = 0; i < a; i++) tell(time_joined(b));
    else fail("%s is neither once nor load nor joined", argv[1]);
    return EXIT_SUCCESS;
}
