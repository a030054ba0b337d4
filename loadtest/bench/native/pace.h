// How both timers pace what they time, and how they say it: microseconds, a figure a line.
//
//   PROGRAM once COUNT PAUSE_MS ...     COUNT of them, one after another, with a pause before each. The pause matters: the
//                                       kernel puts much of its work on namespaces and cgroups off until an RCU grace period
//                                       is over, and in a tight loop one wait serves many.
//   PROGRAM load PARALLEL MS ...        PARALLEL processes, each beginning one after another for MS milliseconds. All that was
//                                       begun is ended, and the last line is `in US`, the time from the first to the last.

#ifndef PACE_H
#define PACE_H

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static _Noreturn __attribute__((format(printf, 1, 2))) void fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vdprintf(STDERR_FILENO, format, args);
    va_end(args);
    dprintf(STDERR_FILENO, "\n");
    _exit(EXIT_FAILURE);
}

static void pause_ms(int64_t ms) {
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&t, &t) && errno == EINTR) {}
}

// A line is far shorter than PIPE_BUF, so lines of several processes never mix.
static void tell(int64_t us) {
    char line[32];
    int length = snprintf(line, sizeof line, "%lld\n", (long long)us);
    if (write(STDOUT_FILENO, line, (size_t)length) != length) fail("stdout: %s", strerror(errno));
}

static long number(const char *text, long min, long max) {
    char *end;
    long value = strtol(text, &end, 10);
    if (*text == 0 || *end != 0 || value < min || value > max) fail("%s is not a number from %ld to %ld", text, min, max);
    return value;
}

// Gives how long one took, in microseconds; anything that goes wrong ends the process.
typedef int64_t one_function(void);

static void pace_once(long count, long pause, one_function *one) {
    for (long i = 0; i < count; i++) {
        pause_ms(pause);
        tell(one());
    }
}

static void pace_load(long parallel, long ms, one_function *one) {
    int64_t start = now_us(), end = start + ms * 1000;
    for (long i = 0; i < parallel; i++) {
        pid_t pid = fork();
        if (pid < 0) fail("fork: %s", strerror(errno));
        if (pid > 0) continue;
        if (prctl(PR_SET_PDEATHSIG, SIGKILL)) fail("prctl: %s", strerror(errno));
        while (now_us() < end) tell(one());
        _exit(EXIT_SUCCESS);
    }
    int status, failed = 0;
    while (wait(&status) > 0) failed |= status;
    if (failed) _exit(EXIT_FAILURE); // Whoever failed has said why.
    printf("in %lld\n", (long long)(now_us() - start));
}

#endif
