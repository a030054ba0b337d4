// Makes, keeps, hands out and removes blanks.

#include "blanks.h"
#include "clock.h"
#include "log.h"
#include "makers.h"
#include "sandbox.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    WINDOW_SECONDS = 60,
    REST_MS = 1000,  // After a blank that could not be made: a host in trouble is not asked again at once.
    RETIRE_EACH_SECOND = 4,
    QUIET_MS = 5,    // After the last arrival; what a start takes, and more.
};

struct making;

static struct {
    unsigned min, max, target;
    struct blank *ready;     // The one that was made last is used first: its pages are the likeliest to be at hand.
    unsigned ready_count, making, making_urgently, removing;
    struct making *in_making;
    struct sandbox *waiting; // The first has waited longest.
    unsigned waiting_count;
    unsigned arrivals[WINDOW_SECONDS], second;
    int64_t rest_until_ms;
    int64_t quiet_at_ms; // When the pool is refilled at the latest.
    bool stopping;
    const struct cgroups *cgroups;
} pool;

// A name that is on its way to being a blank.
struct making {
    struct making *next;
    bool urgent;
    char name[CGROUP_NAME_BYTES];
};

static void fill(void);
static void retire(struct blank *blank);

// ---- Making -----------------------------------------------------------------------------------------------------------

static void name_blank(char name[CGROUP_NAME_BYTES]) {
    static uint32_t life, serial;
    // Names of an earlier life of the launcher may still be in use by what is being removed.
    while (life == 0) {
        if (getrandom(&life, sizeof life, 0) != sizeof life) life = (uint32_t)now_us();
    }
    snprintf(name, CGROUP_NAME_BYTES, "%08x-%u", life, ++serial);
}

static void on_gone(struct source *source, uint32_t events) {
    struct blank *blank = (struct blank *)source;
    (void)events;
    if (blank->owner) return sandbox_on_gone(blank->owner);
    // Nobody but the kernel (no memory) or an operator ends a blank that waits.
    log_event(LOG_WARN, "blank.lost", "\"blank\":\"%s\"", blank->name);
    for (struct blank **at = &pool.ready; *at; at = &(*at)->next) {
        if (*at != blank) continue;
        *at = blank->next;
        pool.ready_count--;
        break;
    }
    waitpid(blank->pid, NULL, 0);
    blank_remove(blank, NULL, NULL);
    fill();
}

struct removal {
    void (*done)(void *owner, const char *why);
    void *owner;
};

static void on_removed(struct task *task, const struct job_result *result, int descriptors[BLANK_DESCRIPTORS]) {
    struct removal *removal = task->owner;
    (void)descriptors;
    pool.removing--;
    if (result->failed) log_event(LOG_ERROR, "blank.not_removed", "\"blank\":\"%s\",\"message\":\"%s\"", task->job->name, log_text(result->text));
    if (removal->done) removal->done(removal->owner, result->failed ? result->text : NULL);
    free(removal);
}

// Has its cgroups removed, and its mounts, whose namespace is taken over.
static void submit_removal(const char *name, int mounts, void (*done)(void *, const char *), void *owner) {
    struct task *task = task_new(JOB_REMOVE, name, 0);
    struct removal *removal = calloc(1, sizeof *removal);
    if (!task || !removal) {
        log_event(LOG_ERROR, "blank.not_removed", "\"blank\":\"%s\",\"message\":\"no memory\"", name);
        if (mounts >= 0) close(mounts);
        if (task) task_free(task);
        free(removal);
        if (done) done(owner, "no memory");
        return;
    }
    pool.removing++;
    *removal = (struct removal){done, owner};
    task->descriptors[0] = mounts;
    task->owner = removal;
    task->done = on_removed;
    makers_submit(task);
}

// One that came to nothing: its maker could not make it, or was lost, or there is no room for its descriptors here. Whoever has made
// it, the process is our child.
static void discard(const char *name, pid_t pid, int descriptors[BLANK_DESCRIPTORS]) {
    for (int i = 0; i < BLANK_DESCRIPTORS; i++) {
        if (descriptors[i] >= 0) close(descriptors[i]);
    }
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    submit_removal(name, -1, NULL, NULL);
}

static struct blank *new_blank(const char *name, pid_t pid, const int descriptors[BLANK_DESCRIPTORS]) {
    // Given in order: when there was no room for all, the last are missing.
    struct blank *blank = descriptors[BLANK_DESCRIPTORS - 1] < 0 ? NULL : calloc(1, sizeof *blank);
    if (!blank) return NULL;
    *blank = (struct blank){.pid = pid, .pidfd = descriptors[MADE_PIDFD], .channel = descriptors[MADE_CHANNEL],
                            .mounts = descriptors[MADE_MOUNTS]};
    memcpy(blank->streams, descriptors + MADE_STDIN, sizeof blank->streams);
    snprintf(blank->name, sizeof blank->name, "%s", name);
    if (!loop_add(&blank->gone, blank->pidfd, EPOLLIN, on_gone)) return free(blank), NULL;
    return blank;
}

static struct sandbox *next_waiting(void) {
    struct sandbox *sandbox = pool.waiting;
    if (!sandbox) return NULL;
    pool.waiting = sandbox->next_waiting;
    pool.waiting_count--;
    sandbox->next_waiting = NULL;
    return sandbox;
}

static void keep(struct blank *blank) {
    blank->next = pool.ready;
    pool.ready = blank;
    pool.ready_count++;
}

static void end_making(struct making *making) {
    for (struct making **at = &pool.in_making; *at; at = &(*at)->next) {
        if (*at != making) continue;
        *at = making->next;
        break;
    }
    pool.making--;
    pool.making_urgently -= making->urgent;
    free(making);
}

static void on_made(struct task *task, const struct job_result *result, int descriptors[BLANK_DESCRIPTORS]) {
    end_making(task->owner);
    struct blank *blank = result->failed ? NULL : new_blank(task->job->name, result->pid, descriptors);
    if (!blank) {
        const char *stage = result->failed ? result->stage : "blank", *text = result->failed ? result->text : "no descriptors left";
        log_event(LOG_ERROR, "blank.not_made", "\"stage\":\"%s\",\"message\":\"%s\"", stage, log_text(text));
        pool.rest_until_ms = now_ms() + REST_MS;
        discard(task->job->name, result->pid, descriptors);
        struct sandbox *sandbox = next_waiting();
        if (sandbox) sandbox_on_failure(sandbox, stage, text);
        return;
    }
    struct sandbox *sandbox = next_waiting();
    if (sandbox) sandbox_on_blank(sandbox, blank);
    else if (pool.stopping) retire(blank);
    else keep(blank);
    fill();
}

static bool make_one(bool urgent) {
    struct making *making = calloc(1, sizeof *making);
    if (!making) return false;
    name_blank(making->name);
    struct task *task = task_new(JOB_MAKE, making->name, 0);
    if (!task) return free(making), false;
    making->next = pool.in_making;
    pool.in_making = making;
    pool.making++;
    pool.making_urgently += urgent;
    making->urgent = urgent;
    task->owner = making;
    task->urgent = urgent;
    task->done = on_made;
    makers_submit(task);
    return true;
}

// Making a blank takes the kernel's time and its locks. A run that is just starting has them to itself, unless blanks run low.
static bool may_refill(void) {
    int64_t now = now_ms();
    if (now < pool.rest_until_ms) return false;
    return now >= pool.quiet_at_ms || (pool.ready_count + pool.making) * 2 <= pool.target;
}

// As many are on their way as are waited for and wanted ahead.
static void fill(void) {
    if (pool.stopping) return;
    while (pool.making_urgently < pool.waiting_count) {
        if (!make_one(true)) return;
    }
    if (!may_refill()) return;
    while (pool.ready_count + pool.making < pool.target + pool.waiting_count) {
        if (!make_one(false)) return;
    }
}

// ---- Using ------------------------------------------------------------------------------------------------------------

static struct blank *take_ready(void) {
    struct blank *blank = pool.ready;
    pool.ready = blank->next;
    pool.ready_count--;
    blank->next = NULL;
    return blank;
}

void blanks_take(struct sandbox *sandbox) {
    pool.arrivals[pool.second]++;
    pool.quiet_at_ms = now_ms() + QUIET_MS;
    if (pool.ready) {
        sandbox_on_blank(sandbox, take_ready());
    } else {
        struct sandbox **at = &pool.waiting;
        while (*at) at = &(*at)->next_waiting;
        *at = sandbox;
        pool.waiting_count++;
    }
    fill();
}

void blanks_forget(struct sandbox *sandbox) {
    for (struct sandbox **at = &pool.waiting; *at; at = &(*at)->next_waiting) {
        if (*at != sandbox) continue;
        *at = sandbox->next_waiting;
        sandbox->next_waiting = NULL;
        pool.waiting_count--;
        return;
    }
}

// ---- Ending -----------------------------------------------------------------------------------------------------------

void blank_kill(const struct blank *blank) {
    // SIGKILL to PID 1 from outside ends everything in its PID namespace.
    syscall(SYS_pidfd_send_signal, blank->pidfd, SIGKILL, NULL, 0);
    if (pool.cgroups->version == 2) cgroup_kill(pool.cgroups, blank->name);
}

static void close_descriptor(int *fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

void blank_remove(struct blank *blank, void (*done)(void *, const char *), void *owner) {
    loop_remove(&blank->gone);
    close_descriptor(&blank->pidfd);
    close_descriptor(&blank->channel);
    for (int i = 0; i < 3; i++) close_descriptor(&blank->streams[i]);
    submit_removal(blank->name, blank->mounts, done, owner);
    loop_free(blank);
}

// ---- How many ---------------------------------------------------------------------------------------------------------

static unsigned wanted(void) {
    unsigned most = 0;
    for (unsigned i = 0; i < WINDOW_SECONDS; i++) {
        if (pool.arrivals[i] > most) most = pool.arrivals[i];
    }
    return most < pool.min ? pool.min : most > pool.max ? pool.max : most;
}

static void retire(struct blank *blank) {
    // on_gone() would take it for lost.
    loop_remove(&blank->gone);
    blank_kill(blank);
    waitpid(blank->pid, NULL, 0); // It waits in a read: this is microseconds.
    blank_remove(blank, NULL, NULL);
}

void blanks_tick(void) {
    pool.target = wanted();
    pool.second = (pool.second + 1) % WINDOW_SECONDS;
    pool.arrivals[pool.second] = 0;
    for (int i = 0; i < RETIRE_EACH_SECOND && pool.ready_count > pool.target; i++) retire(take_ready());
    fill();
}

int64_t blanks_check(int64_t now) {
    bool is_full = pool.ready_count + pool.making >= pool.target + pool.waiting_count;
    if (is_full || pool.stopping) return INT64_MAX;
    if (now >= pool.quiet_at_ms) fill();
    return now < pool.quiet_at_ms ? pool.quiet_at_ms : INT64_MAX;
}

void blanks_start(unsigned min, unsigned max, const struct cgroups *cgroups) {
    pool.min = min, pool.max = max, pool.target = min, pool.cgroups = cgroups;
    fill();
}

void blanks_stop(void) {
    pool.stopping = true;
    while (pool.ready) retire(take_ready());
}

struct blank_counts blanks_count(void) {
    return (struct blank_counts){.ready = pool.ready_count, .target = pool.target, .removing = pool.removing + pool.making};
}

static size_t add_name(char *text, size_t room, const char *name) {
    size_t length = strlen(name) + 1;
    if (length > room) return 0;
    memcpy(text, name, length);
    return length;
}

size_t blanks_names(char *text, size_t room) {
    size_t used = 0;
    for (const struct blank *blank = pool.ready; blank; blank = blank->next) used += add_name(text + used, room - used, blank->name);
    for (const struct making *making = pool.in_making; making; making = making->next)
        used += add_name(text + used, room - used, making->name);
    return used;
}
