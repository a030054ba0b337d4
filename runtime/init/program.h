// The part of PID 1 that every container has: start the program, reap, pass signals on, tell how it ended.

#pragma once
#include "artifacts.h"
#include "report.h"

#include <stdbool.h>
#include <time.h>

struct launch {
    const char *user;    // As a Dockerfile's; "" is root.
    const char *workdir; // Absolute; made if it is missing.
    bool keep_home;      // HOME is in the environment already.
    bool files;          // Files come first on stdin (files.h).
    bool terminal;       // Stdio is to be a pseudo-terminal of this size.
    unsigned short rows, columns;
    struct artifacts artifacts; // To be sent once the program has ended.
    char **argv;         // NULL-terminated, at least one.
    struct timespec begun; // When the container was ready (CLOCK_MONOTONIC).
};

// Called as the container's root, in the container's root file system, with the environment that the program shall have, its
// stdin, stdout and stderr at 0, 1 and 2, and the watcher at REPORT_FD. Returns PID 1's own exit code once the program has ended.
int run_launch(const struct launch *launch);

// Tells the watcher; ends the process if nobody is there to hear it.
void report(enum report_kind kind, uint32_t value);
