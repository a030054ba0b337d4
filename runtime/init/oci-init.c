// mayfly-init: PID 1 of a container that an OCI runtime has made.
//
// It runs inside the container as the container's root, with everything the runtime has already taken away (namespaces,
// capabilities, seccomp).
//
//   mayfly-init USER WORKDIR HOME TERMINAL FILES ARTIFACTS [PATTERN...] PROGRAM [ARG...]
//
//   HOME      "user" to set it from the image's passwd, "kept" to leave it
//   TERMINAL  "none", or the size of a pseudo-terminal for the program: ROWSxCOLUMNS
//   FILES     "files" if files come first on stdin, or "none"
//   ARTIFACTS "none", or how many patterns follow, how many files may be sent and of how many bytes: COUNT:FILES:BYTES

#include "program.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { EXIT_USAGE = 126, FIRST_PATTERN = 7 };

// Returns where the program stands among the arguments.
static int read_artifacts(int argc, char *argv[], struct artifacts *artifacts) {
    unsigned long long bytes;
    if (sscanf(argv[FIRST_PATTERN - 1], "%u:%u:%llu", &artifacts->count, &artifacts->max_files, &bytes) != 3) return FIRST_PATTERN;
    if (artifacts->count > MAX_ARTIFACT_PATTERNS || FIRST_PATTERN + (int)artifacts->count >= argc) _exit(EXIT_USAGE);
    artifacts->patterns = argv + FIRST_PATTERN;
    artifacts->max_bytes = bytes;
    return FIRST_PATTERN + (int)artifacts->count;
}

int main(int argc, char *argv[]) {
    // Nobody in the container, not even its root, may trace PID 1 or reach its descriptors through /proc.
    prctl(PR_SET_DUMPABLE, 0);
    // The shim is the parent. If it is killed, nobody is left to keep the deadline, so the container ends with it.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (argc < 8 || fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC)) return EXIT_USAGE;

    struct launch launch = {.user = argv[1], .workdir = argv[2]};
    launch.argv = argv + read_artifacts(argc, argv, &launch.artifacts);
    // The OCI runtime sets HOME to its own user's, which is always root, so its presence says nothing.
    launch.keep_home = strcmp(argv[3], "kept") == 0;
    launch.terminal = sscanf(argv[4], "%hux%hu", &launch.rows, &launch.columns) == 2;
    launch.files = strcmp(argv[5], "files") == 0;
    clock_gettime(CLOCK_MONOTONIC, &launch.begun);
    return run_launch(&launch);
}
