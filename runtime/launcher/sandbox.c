// The life of a sandbox, told by the events that drive it.

#include "sandbox.h"
#include "clock.h"
#include "host.h"
#include "log.h"
#include "start.h"

#include "../init/report.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sandbox *alive; // All that are not yet freed.
static unsigned alive_count;  // Of these, those that are not yet removed.
static int64_t next_deadline_ms = INT64_MAX; // Never later than the first that is due.

static struct connection *resetter; // Waits for what it has asked to be removed.
static unsigned reset_left;
static char reset_ids[MAX_FRAME_BYTES / 2];
static size_t reset_ids_bytes;

// ---- Telling the worker -----------------------------------------------------------------------------------------------

void sandbox_tell(struct sandbox *sandbox, enum frame_type type, const void *payload, size_t length) {
    connection_send(sandbox->connection, type, 0, payload, length);
}

// FAILED or EXITED: whichever comes first is how it ended.
void sandbox_tell_failed(struct sandbox *sandbox, const char *stage, const char *text) {
    char payload[STAGE_BYTES + JOB_TEXT_BYTES];
    if (sandbox->told) return;
    sandbox->told = true;
    log_event(LOG_WARN, "sandbox.failed", "\"sandbox\":\"%s\",\"stage\":\"%s\",\"message\":\"%s\"", sandbox->id, stage, log_text(text));
    int length = snprintf(payload, sizeof payload, "%s%c%s", stage, '\0', text);
    sandbox_tell(sandbox, FRAME_FAILED, payload, (size_t)length < sizeof payload ? (size_t)length : sizeof payload - 1);
}

static void tell_exited(struct sandbox *sandbox, int status, const struct rusage *usage) {
    struct cgroup_facts facts = {0};
    bool has_facts = cgroup_read(host_cgroups(), sandbox->blank->name, &facts) == 0;
    if (sandbox->told) return;
    sandbox->told = true;
    struct exited exited = {
        .wait_status = (uint32_t)status & 0xff7f, // No core flag: exit status and signal alone.
        .facts = has_facts, .cpu_us = facts.cpu_us, .throttled_us = facts.throttled_us,
        .peak_memory_bytes = facts.peak_memory_bytes, .oom_kills = facts.oom_kills,
        .user_us = (uint64_t)(usage->ru_utime.tv_sec * 1000000 + usage->ru_utime.tv_usec),
        .system_us = (uint64_t)(usage->ru_stime.tv_sec * 1000000 + usage->ru_stime.tv_usec),
    };
    sandbox_tell(sandbox, FRAME_EXITED, &exited, sizeof exited);
}

// The connection is without a sandbox from then on, and may be used for another.
static void tell_released(struct sandbox *sandbox) {
    const char *why = sandbox->why_not_removed;
    if (!sandbox->connection || !sandbox->released || !sandbox->removed) return;
    streams_close(&sandbox->streams);
    sandbox_tell(sandbox, FRAME_RELEASED, why, why ? strlen(why) : 0);
    sandbox->connection->sandbox = NULL;
    sandbox->connection = NULL;
}

// ---- The end ----------------------------------------------------------------------------------------------------------

static void tell_reset(void) {
    if (!resetter || reset_left > 0) return;
    connection_send(resetter, FRAME_RESET_DONE, 0, reset_ids, reset_ids_bytes);
    resetter = NULL;
}

static void forget(struct sandbox *sandbox) {
    // What ends it may have forgotten it on the way: it is asked again, and freed once.
    if (sandbox->connection || !sandbox->removed || sandbox->forgotten) return;
    sandbox->forgotten = true;
    if (sandbox->next) sandbox->next->previous = sandbox->previous;
    *(sandbox->previous ? &sandbox->previous->next : &alive) = sandbox->next;
    free(sandbox->request);
    loop_free(sandbox);
}

static void on_removed(void *owner, const char *why) {
    static const char *const failed = "its cgroup could not be removed";
    struct sandbox *sandbox = owner;
    sandbox->removed = true;
    alive_count--;
    sandbox->why_not_removed = why ? failed : NULL;
    tell_released(sandbox);
    if (sandbox->is_reset) reset_left--, tell_reset();
    forget(sandbox);
}

// Once nothing of it runs and no maker is at it.
void sandbox_remove_when_over(struct sandbox *sandbox) {
    if (sandbox->state != ENDED || sandbox->at_maker || sandbox->removing) return;
    sandbox->removing = true;
    if (!sandbox->blank) return on_removed(sandbox, NULL);
    struct blank *blank = sandbox->blank;
    loop_remove(&sandbox->channel);
    sandbox->blank = NULL;
    blank_remove(blank, on_removed, sandbox);
}

void sandbox_kill(struct sandbox *sandbox) {
    sandbox->killed = true;
    if (sandbox->state == ENDED) return;
    if (sandbox->blank) return blank_kill(sandbox->blank); // on_gone goes on.
    if (sandbox->state == WAITING) blanks_forget(sandbox);
    sandbox->state = ENDED;
    sandbox_tell_failed(sandbox, "create", "it was killed before it started");
    sandbox_remove_when_over(sandbox);
}

void sandbox_on_failure(struct sandbox *sandbox, const char *stage, const char *text) {
    sandbox_tell_failed(sandbox, stage, text);
    // It may still be waiting for a blank, which would come to one that is gone.
    if (sandbox->state == WAITING) blanks_forget(sandbox);
    if (!sandbox->blank) sandbox->state = ENDED;
    sandbox_kill(sandbox);
    sandbox_remove_when_over(sandbox);
}

// What has not been started has not ended either: then the reason is the host's.
static void tell_end(struct sandbox *sandbox, int status, const struct rusage *usage) {
    bool has_run = sandbox->state == RUNNING || sandbox->last_report == REPORT_NO_EXEC;
    if (has_run) tell_exited(sandbox, sandbox->exit_report >= 0 ? sandbox->exit_report : status, usage);
    else if (sandbox->killed) sandbox_tell_failed(sandbox, "create", "it was killed before it started");
    // No memory to start a program in: the limit's doing, and told as such. While a maker is at it, it has not come to that.
    else if (sandbox->state == STARTING && !sandbox->at_maker && WIFSIGNALED(status)) tell_exited(sandbox, status, usage);
    else sandbox_tell_failed(sandbox, "init", "PID 1 ended before its program was started");
}

void sandbox_on_gone(struct sandbox *sandbox) {
    struct rusage usage = {0};
    int status = 0;
    if (wait4(sandbox->blank->pid, &status, WNOHANG, &usage) != sandbox->blank->pid) return;
    loop_remove(&sandbox->blank->gone);
    start_read_reports(sandbox); // What it said before it died.
    tell_end(sandbox, status, &usage);
    sandbox->state = ENDED;
    streams_end_input(&sandbox->streams);
    streams_end_unopened(&sandbox->streams);
    sandbox_remove_when_over(sandbox);
}

// ---- A blank for it ---------------------------------------------------------------------------------------------------

void sandbox_on_blank(struct sandbox *sandbox, struct blank *blank) {
    sandbox->was_ready = sandbox->state == NEW;
    sandbox->blank = blank;
    sandbox->state = READY;
    blank->owner = sandbox;
    if (sandbox->request) start_sandbox(sandbox);
    else sandbox_tell(sandbox, FRAME_PREPARED, NULL, 0);
}

// ---- What the worker says ---------------------------------------------------------------------------------------------

static void set_deadline(struct sandbox *sandbox, uint64_t ms) {
    int64_t now = now_ms();
    sandbox->deadline_ms = ms > INT32_MAX ? now + INT32_MAX : now + (int64_t)ms;
    if (sandbox->deadline_ms < next_deadline_ms) next_deadline_ms = sandbox->deadline_ms;
}

static struct sandbox *new_sandbox(struct connection *connection) {
    struct sandbox *sandbox = calloc(1, sizeof *sandbox);
    if (!sandbox) return NULL;
    *sandbox = (struct sandbox){.connection = connection, .channel.fd = -1, .exit_report = -1, .next = alive,
                                .deadline_ms = INT64_MAX};
    if (alive) alive->previous = sandbox;
    alive = sandbox;
    alive_count++;
    connection->sandbox = sandbox;
    streams_init(&sandbox->streams, connection);
    return sandbox;
}

static bool is_taken(const char *id) {
    for (const struct sandbox *other = alive; other; other = other->next) {
        if (!other->removed && strcmp(other->id, id) == 0) return true;
    }
    return false;
}

static void take_blank(struct sandbox *sandbox) {
    blanks_take(sandbox);
    if (sandbox->state == NEW) sandbox->state = WAITING;
}

static const char *on_prepare(struct connection *connection, const struct frame *frame) {
    struct sandbox *sandbox = connection->sandbox ? NULL : new_sandbox(connection);
    if (!sandbox) return "PREPARE out of order, or no memory";
    set_deadline(sandbox, frame_u64(frame));
    take_blank(sandbox);
    return NULL;
}

static const char *on_run(struct connection *connection, const struct frame *frame) {
    struct run_request run;
    const char *why = NULL;
    if (!frame_read_run(frame, &run, &why)) return why;
    struct sandbox *sandbox = connection->sandbox ? connection->sandbox : new_sandbox(connection);
    if (!sandbox || sandbox->id[0]) return "RUN out of order, or no memory";
    if (is_taken(run.id)) return sandbox_on_failure(sandbox, "create", "there is a sandbox of this id already"), NULL;
    snprintf(sandbox->id, sizeof sandbox->id, "%s", run.id);
    sandbox->asked_us = now_us();
    if (run.header.deadline_ms > 0) set_deadline(sandbox, run.header.deadline_ms);
    if (sandbox->state == ENDED) return NULL; // It has been told of that already.
    if (!(sandbox->request = malloc(frame->length))) return "no memory";
    memcpy(sandbox->request, frame->payload, frame->length);
    sandbox->request_bytes = frame->length;
    if (sandbox->state == NEW) take_blank(sandbox);
    else if (sandbox->state == READY) start_sandbox(sandbox);
    return NULL;
}

static void on_signal(const struct sandbox *sandbox, uint32_t signal) {
    // To PID 1, which passes it on to the program; from outside it could also be killed, which is what KILL is for.
    if (sandbox->state == RUNNING && signal != SIGKILL && signal != SIGSTOP)
        syscall(SYS_pidfd_send_signal, sandbox->blank->pidfd, signal, NULL, 0);
}

static const char *on_sandbox_frame(struct sandbox *sandbox, const struct frame *frame) {
    switch (frame->type) {
    case FRAME_STDIN: return streams_on_input(&sandbox->streams, frame);
    case FRAME_CREDIT: return streams_on_credit(&sandbox->streams, frame);
    case FRAME_DEADLINE: return set_deadline(sandbox, frame_u64(frame)), NULL;
    case FRAME_SIGNAL: return on_signal(sandbox, frame_u32(frame)), NULL;
    case FRAME_RESIZE: return streams_resize(&sandbox->streams, frame_u32(frame) & 0xffff, frame_u32(frame) >> 16), NULL;
    case FRAME_KILL: return sandbox_kill(sandbox), NULL;
    case FRAME_RELEASE:
        sandbox->released = true;
        sandbox_kill(sandbox);
        tell_released(sandbox);
        return forget(sandbox), NULL;
    default: return "out of order";
    }
}

const char *sandbox_on_frame(struct connection *connection, const struct frame *frame) {
    switch (frame->type) {
    case FRAME_PREPARE: return on_prepare(connection, frame);
    case FRAME_RUN: return on_run(connection, frame);
    case FRAME_STATUS: return host_tell_status(connection), NULL;
    case FRAME_RESET: return connection->sandbox ? "out of order" : sandboxes_reset(connection);
    default: return connection->sandbox ? on_sandbox_frame(connection->sandbox, frame) : "out of order";
    }
}

void sandbox_on_closed(struct connection *connection) {
    struct sandbox *sandbox = connection->sandbox;
    if (connection == resetter) resetter = NULL;
    if (!sandbox) return;
    sandbox->connection = NULL;
    streams_close(&sandbox->streams);
    sandbox_kill(sandbox);
    forget(sandbox);
}

void sandbox_on_drained(struct connection *connection) {
    if (connection->sandbox) streams_resume(&connection->sandbox->streams);
}

// ---- All of them ------------------------------------------------------------------------------------------------------

int64_t sandboxes_check(int64_t now) {
    if (now < next_deadline_ms) return next_deadline_ms;
    next_deadline_ms = INT64_MAX;
    for (struct sandbox *sandbox = alive, *next; sandbox; sandbox = next) {
        next = sandbox->next;
        if (sandbox->state == ENDED || sandbox->killed) continue;
        if (sandbox->deadline_ms <= now) {
            // That we killed it is no end of the program's own.
            sandbox_tell_failed(sandbox, "deadline", "its deadline passed without being extended");
            sandbox_kill(sandbox);
        } else if (sandbox->deadline_ms < next_deadline_ms) {
            next_deadline_ms = sandbox->deadline_ms;
        }
    }
    return next_deadline_ms;
}

const char *sandboxes_reset(struct connection *connection) {
    if (resetter && connection) return "a reset is under way";
    if (connection) resetter = connection;
    reset_ids_bytes = 0;
    reset_left++; // Until all are counted: some are removed at once.
    for (struct sandbox *sandbox = alive, *next; sandbox; sandbox = next) {
        next = sandbox->next;
        if (sandbox->removed || sandbox->is_reset) continue;
        sandbox->is_reset = true;
        reset_left++;
        size_t length = strlen(sandbox->id) + 1;
        if (length > 1 && reset_ids_bytes + length <= sizeof reset_ids) {
            memcpy(reset_ids + reset_ids_bytes, sandbox->id, length);
            reset_ids_bytes += length;
        }
        sandbox_kill(sandbox);
    }
    reset_left--;
    tell_reset();
    return NULL;
}

unsigned sandboxes_alive(void) {
    return alive_count;
}
