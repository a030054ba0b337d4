// A blank as the launcher holds it, and the pool of those that are ready.
//
// The pool is kept as large as the busiest second of the last minute asked for, between two bounds. It is refilled off the path
// of runs: when none has come for a few milliseconds, or at once when less than half of it is left. Who finds it empty waits for a
// blank of its own to be made. A blank is used once.

#pragma once
#include "jobs.h"
#include "loop.h"

struct sandbox;

struct blank {
    struct source gone; // Its pidfd: readable when PID 1 has ended.
    int pidfd, channel, streams[3], mounts;
    pid_t pid;
    struct sandbox *owner; // NULL in the pool.
    struct blank *next;
    char name[CGROUP_NAME_BYTES];
};

void blanks_start(unsigned min, unsigned max, const struct cgroups *cgroups);
// Calls sandbox_on_blank(), at once if one is ready, else when it has been made, or sandbox_on_failure().
void blanks_take(struct sandbox *sandbox);
// For a sandbox that no longer wants what it waits for.
void blanks_forget(struct sandbox *sandbox);
// Once PID 1 is gone and reaped: frees the descriptors, and has mounts and cgroups removed. DONE is told whether they are gone.
void blank_remove(struct blank *blank, void (*done)(void *owner, const char *why), void *owner);
// SIGKILL to everything in it.
void blank_kill(const struct blank *blank);
// Each second.
void blanks_tick(void);
// Refills the pool once it is quiet. When it wants to be called again, on now_ms().
int64_t blanks_check(int64_t now_ms);
// No more are made, and those that are ready are ended. For the end of the launcher.
void blanks_stop(void);

struct blank_counts { unsigned ready, target, removing; };
struct blank_counts blanks_count(void);
// The names of blanks that are ready or being made, each with its NUL, in TEXT; returns the bytes used.
size_t blanks_names(char *text, size_t room);
