// Has the device program of a policy loaded, attached to a cgroup, and tried: what may be opened, and how.
//
//   devices CGROUP MODE:PATH…        MODE: r, w, or n to make a node like PATH's beside CGROUP's own files (in /tmp)
//
// Says `MODE:PATH` and the error, or "allowed", a line each. The policy allows 1:3 (null) and every minor of 136.

#include "../../runtime/launcher/device_rules.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void try(const char *what) {
    char mode = what[0], place[64];
    const char *path = what + 2;
    int result;
    if (mode == 'n') {
        struct stat status;
        snprintf(place, sizeof place, "/tmp/mayfly-node-%d", getpid());
        result = stat(path, &status) ? -1 : mknod(place, S_IFCHR | 0600, status.st_rdev);
        int error = errno;
        unlink(place);
        errno = error;
    } else {
        result = open(path, (mode == 'w' ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_NOCTTY);
    }
    printf("%s %s\n", what, result < 0 ? strerror(errno) : "allowed");
    if (result > 0) close(result);
}

int main(int argc, char *argv[]) {
    struct policy policy = {.device_count = 2, .devices = {{1, 3}, {136, -1}}};
    if (argc < 2) return 64;
    int program = load_device_program(&policy);
    if (program < 0) return printf("load: %s\n", strerror(errno)), 1;
    close(program);
    int cgroup = open(argv[1], O_RDONLY | O_DIRECTORY), procs = openat(cgroup, "cgroup.procs", O_WRONLY);
    if (procs < 0 || rule_devices_v2(cgroup, &policy)) return printf("attach: %s\n", strerror(errno)), 1;
    pid_t child = fork();
    if (child == 0) {
        if (write(procs, "0", 1) != 1) _exit(1);
        for (int i = 2; i < argc; i++) try(argv[i]);
        fflush(stdout);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return status ? 1 : 0;
}
