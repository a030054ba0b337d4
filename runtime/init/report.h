// What PID 1 of a container tells the process that watches over it from the host (mayfly-shim, mayfly-launcher).
//
//   init ──── fd 3, structs report, in order ────▶ watcher
//
// The init is not to be trusted once the program runs. A report is of fixed size, and the watcher takes at most one of each
// kind, in order; anything else is ignored, and the kernel's wait status stands. When fd 3 has nobody at its other end, the
// watcher has died, and with it whoever keeps the deadline: then the init ends, and the container with it.

#pragma once
#include <stdint.h>

enum {
    REPORT_FD = 3,
    // From the watcher to a PID 1 that is to collect artifacts, and kept from the program: kill all but yourself. The last real-time signal,
    // which has no other use.
    END_SIGNAL = 64,
};

enum report_kind {
    REPORT_READY = 1,      // value: 0; a blank is parked (launcher only)
    REPORT_TERMINAL = 2,   // value: 0; with it, by SCM_RIGHTS, the master of the program's pseudo-terminal
    REPORT_STARTED = 3,    // value: microseconds since the container was ready; the program has been executed
    REPORT_ARTIFACTS = 4,  // value: 0; the program has ended; with it, by SCM_RIGHTS, a socket from which a tar of its artifacts is read
    REPORT_EXITED = 5,     // value: wait status of the program
    REPORT_NO_EXEC = 6,    // value: errno of execve
    REPORT_NO_USER = 7,    // value: 0; the image has no such user or group
    REPORT_NO_WORKDIR = 8, // value: errno
    REPORT_NO_SETUP = 9,   // value: errno; anything else that went wrong before the program
    REPORT_NO_FILES = 10,  // value: errno, and above its 8 bits the number of the file that could not be written
    REPORT_LAST = REPORT_NO_FILES,
};

struct report {
    uint32_t kind;
    uint32_t value;
};
