// The life of a sandbox, told by the events that drive it.

#include "sandbox.h"
#include "clock.h"
#include "host.h"
#include "log.h"
#include "makers.h"
#include "plan.h"

#include "../init/report.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/resource.h>
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

static void tell(struct sandbox *sandbox, enum frame_type type, const void *payload, size_t length) {
    connection_send(sandbox->connection, type, 0, payload, length);
}

// FAILED or EXITED: whichever comes first is how it ended.
static void tell_failed(struct sandbox *sandbox, const char *stage, const char *text) {
    char payload[STAGE_BYTES + JOB_TEXT_BYTES];
    if (sandbox->told) return;
    sandbox->told = true;
    log_event(LOG_WARN, "sandbox.failed", "\"sandbox\":\"%s\",\"stage\":\"%s\",\"message\":\"%s\"", sandbox->id, stage, log_text(text));
    int length = snprintf(payload, sizeof payload, "%s%c%s", stage, '\0', text);
    tell(sandbox, FRAME_FAILED, payload, (size_t)length < sizeof payload ? (size_t)length : sizeof payload - 1);
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
    tell(sandbox, FRAME_EXITED, &exited, sizeof exited);
}

static void tell_released(struct sandbox *sandbox) {
    const char *why = sandbox->why_not_removed;
    if (sandbox->released && sandbox->removed) tell(sandbox, FRAME_RELEASED, why, why ? strlen(why) : 0);
}

// ---- The end ----------------------------------------------------------------------------------------------------------

static void tell_reset(void) {
    if (!resetter || reset_left > 0) return;
    connection_send(resetter, FRAME_RESET_DONE, 0, reset_ids, reset_ids_bytes);
    resetter = NULL;
}

static void forget(struct sandbox *sandbox) {
    if (sandbox->connection || !sandbox->removed) return;
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
static void remove_when_over(struct sandbox *sandbox) {
    if (sandbox->state != ENDED || sandbox->at_maker || sandbox->removing) return;
    sandbox->removing = true;
    if (!sandbox->blank) return on_removed(sandbox, NULL);
    struct blank *blank = sandbox->blank;
    loop_remove(&sandbox->channel);
    sandbox->blank = NULL;
    blank_remove(blank, on_removed, sandbox);
}

static void kill_sandbox(struct sandbox *sandbox) {
    sandbox->killed = true;
    if (sandbox->state == ENDED) return;
    if (sandbox->blank) return blank_kill(sandbox->blank); // on_gone goes on.
    if (sandbox->state == WAITING) blanks_forget(sandbox);
    sandbox->state = ENDED;
    tell_failed(sandbox, "create", "it was killed before it started");
    remove_when_over(sandbox);
}

void sandbox_on_failure(struct sandbox *sandbox, const char *stage, const char *text) {
    tell_failed(sandbox, stage, text);
    // It may still be waiting for a blank, which would come to one that is gone.
    if (sandbox->state == WAITING) blanks_forget(sandbox);
    if (!sandbox->blank) sandbox->state = ENDED;
    kill_sandbox(sandbox);
    remove_when_over(sandbox);
}

static void read_reports(struct sandbox *sandbox);

// What has not been started has not ended either: then the reason is the host's.
static void tell_end(struct sandbox *sandbox, int status, const struct rusage *usage) {
    bool has_run = sandbox->state == RUNNING || sandbox->last_report == REPORT_NO_EXEC;
    if (has_run) tell_exited(sandbox, sandbox->exit_report >= 0 ? sandbox->exit_report : status, usage);
    else if (sandbox->killed) tell_failed(sandbox, "create", "it was killed before it started");
    // No memory to start a program in: the limit's doing, and told as such.
    else if (sandbox->state == STARTING && WIFSIGNALED(status)) tell_exited(sandbox, status, usage);
    else tell_failed(sandbox, "init", "PID 1 ended before its program was started");
}

void sandbox_on_gone(struct sandbox *sandbox) {
    struct rusage usage = {0};
    int status = 0;
    if (wait4(sandbox->blank->pid, &status, WNOHANG, &usage) != sandbox->blank->pid) return;
    loop_remove(&sandbox->blank->gone);
    read_reports(sandbox); // What it said before it died.
    tell_end(sandbox, status, &usage);
    sandbox->state = ENDED;
    streams_end_input(&sandbox->streams);
    remove_when_over(sandbox);
}

// ---- Its PID 1 --------------------------------------------------------------------------------------------------------

static void on_report(struct sandbox *sandbox, const struct report *report, int descriptor) {
    int error = (int)(report->value & 0xff);
    switch (report->kind) {
    case REPORT_TERMINAL:
        if (descriptor >= 0) streams_use_terminal(&sandbox->streams, descriptor);
        return;
    case REPORT_STARTED: {
        struct started started = {.furnish_us = (uint64_t)(sandbox->furnished_us - sandbox->asked_us),
                                  .start_us = (uint64_t)(now_us() - sandbox->furnished_us), .was_blank = sandbox->was_ready};
        sandbox->state = RUNNING;
        return tell(sandbox, FRAME_STARTED, &started, sizeof started);
    }
    case REPORT_EXITED: sandbox->exit_report = (int)(report->value & 0xff7f); return;
    case REPORT_NO_EXEC: return; // The init's own exit code is 127 or 126, as a shell's.
    case REPORT_NO_USER: return tell_failed(sandbox, "user", "the image has no such user or group");
    case REPORT_NO_WORKDIR: return tell_failed(sandbox, "workdir", strerror(error));
    default: return tell_failed(sandbox, "init", strerror(error));
    }
}

// Nothing that PID 1 says is believed twice, out of order, or once it has nothing more to say. A terminal that comes when the
// connection is closed has nobody to be carried to.
static bool is_expected(const struct sandbox *sandbox, const struct report *report) {
    bool is_terminal = sandbox->streams.terminal && sandbox->connection;
    return sandbox->state >= STARTING && report->kind > sandbox->last_report && report->kind > REPORT_READY &&
           report->kind <= REPORT_LAST && (report->kind != REPORT_TERMINAL || is_terminal);
}

static ssize_t receive_report(int channel, struct report *report, int *descriptor) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec bytes = {.iov_base = report, .iov_len = sizeof *report};
    struct msghdr letter = {.msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    *descriptor = -1;
    ssize_t got = recvmsg(channel, &letter, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *header = got > 0 ? CMSG_FIRSTHDR(&letter) : NULL;
    if (header && header->cmsg_len == CMSG_LEN(sizeof(int))) memcpy(descriptor, CMSG_DATA(header), sizeof(int));
    return got;
}

static void read_reports(struct sandbox *sandbox) {
    // There are fewer kinds than this; who sends more is not listened to any longer.
    for (int i = 0; i <= REPORT_LAST; i++) {
        struct report report;
        int descriptor;
        ssize_t got = receive_report(sandbox->blank->channel, &report, &descriptor);
        if (got < 0 && errno == EAGAIN) return;
        bool is_taken = got == sizeof report && is_expected(sandbox, &report);
        if (is_taken) {
            sandbox->last_report = report.kind;
            on_report(sandbox, &report, descriptor);
        }
        if (descriptor >= 0 && !(is_taken && report.kind == REPORT_TERMINAL)) close(descriptor);
        if (!is_taken || report.kind >= REPORT_EXITED) break;
    }
    loop_remove(&sandbox->channel); // It has said all it may.
}

static bool send_program(struct sandbox *sandbox);

static void on_channel(struct source *source, uint32_t events) {
    struct sandbox *sandbox = (struct sandbox *)((char *)source - offsetof(struct sandbox, channel));
    if (events & EPOLLOUT && sandbox->request && !send_program(sandbox)) return;
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) read_reports(sandbox);
}

// ---- Starting ---------------------------------------------------------------------------------------------------------

static bool read_request(const struct sandbox *sandbox, struct run_request *run) {
    const char *why;
    struct frame frame = {.type = FRAME_RUN, .payload = sandbox->request, .length = sandbox->request_bytes};
    return frame_read_run(&frame, run, &why);
}

// The strings as they came, behind the numbers. What the socket does not take at once goes when there is room. False when it is over.
static bool send_program(struct sandbox *sandbox) {
    struct run_request run;
    if (!read_request(sandbox, &run)) return false;
    struct blank_program head = {.bytes = (uint32_t)run.program_bytes, .arguments = run.header.arguments,
                                 .environment = run.header.environment, .rows = run.header.rows,
                                 .columns = run.header.columns, .keep_home = run.header.keep_home};
    size_t all = sizeof head + run.program_bytes, sent = sandbox->program_sent;
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)run.program, run.program_bytes}};
    unsigned first = sent < sizeof head ? 0 : 1;
    size_t skip = first ? sent - sizeof head : sent;
    parts[first].iov_base = (char *)parts[first].iov_base + skip, parts[first].iov_len -= skip;
    struct msghdr letter = {.msg_iov = parts + first, .msg_iovlen = 2 - first};
    ssize_t more = sendmsg(sandbox->blank->channel, &letter, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (more < 0 && errno != EAGAIN && errno != EINTR) return kill_sandbox(sandbox), false;
    if (more > 0) sandbox->program_sent += (size_t)more;
    bool is_whole = sandbox->program_sent == all;
    loop_change(&sandbox->channel, EPOLLIN | (is_whole ? 0 : EPOLLOUT));
    if (is_whole) free(sandbox->request), sandbox->request = NULL;
    return true;
}

static void on_furnished(struct task *task, const struct job_result *result, int descriptors[BLANK_DESCRIPTORS]) {
    struct sandbox *sandbox = task->owner;
    (void)descriptors;
    sandbox->at_maker = false;
    if (result->failed && !sandbox->killed) return sandbox_on_failure(sandbox, result->stage, result->text);
    if (sandbox->killed || sandbox->state == ENDED) return remove_when_over(sandbox);
    sandbox->state = STARTING;
    sandbox->furnished_us = now_us();
    struct run_request run;
    bool terminal = read_request(sandbox, &run) && run.header.rows > 0;
    streams_open(&sandbox->streams, sandbox->blank->streams, terminal);
    if (!loop_add(&sandbox->channel, sandbox->blank->channel, EPOLLIN, on_channel))
        return sandbox_on_failure(sandbox, "init", strerror(errno));
    send_program(sandbox);
}

// Layers are named below the directory of layers: a worker cannot have anything else of the host mounted.
static bool copy_layers(const struct run_request *run, struct job *job, size_t *bytes) {
    const char *layer = run->layers;
    char *out = job->layer_paths;
    size_t prefix = strlen(host_layers());
    for (unsigned i = 0; i < run->header.layers; i++, layer += strlen(layer) + 1) {
        if (strncmp(layer, host_layers(), prefix) != 0 || layer[prefix] != '/') return false;
        out = stpcpy(out, layer + prefix + 1) + 1;
    }
    *bytes = (size_t)(out - job->layer_paths);
    return true;
}

static void furnish(struct sandbox *sandbox) {
    struct run_request run;
    if (!read_request(sandbox, &run)) return sandbox_on_failure(sandbox, "protocol", "a run that cannot be read");
    size_t layer_bytes = (size_t)(run.program - run.layers);
    struct task *task = task_new(JOB_FURNISH, sandbox->blank->name, layer_bytes);
    if (!task) return sandbox_on_failure(sandbox, "mount", "no memory");
    struct job *job = task->job;
    job->disk_bytes = run.header.disk_bytes;
    job->layers = run.header.layers;
    job->limits = (struct cgroup_limits){run.header.memory_bytes, run.header.cpu_quota_us, run.header.pids};
    snprintf(job->hostname, sizeof job->hostname, "%s", run.hostname);
    task->urgent = true;
    task->done = on_furnished;
    task->owner = sandbox;
    task->descriptor = fcntl(sandbox->blank->pidfd, F_DUPFD_CLOEXEC, 0);
    if (task->descriptor < 0) {
        task_free(task);
        return sandbox_on_failure(sandbox, "mount", strerror(errno));
    }
    if (layer_bytes > MAX_LAYER_BYTES || !copy_layers(&run, job, &layer_bytes)) {
        task_free(task);
        return sandbox_on_failure(sandbox, "mount", "its layers are not where this host keeps layers");
    }
    task->bytes = sizeof *job + layer_bytes;
    sandbox->state = FURNISHING;
    sandbox->at_maker = true;
    makers_submit(task);
}

void sandbox_on_blank(struct sandbox *sandbox, struct blank *blank) {
    sandbox->was_ready = sandbox->state == NEW;
    sandbox->blank = blank;
    sandbox->state = READY;
    blank->owner = sandbox;
    if (sandbox->request) furnish(sandbox);
    else tell(sandbox, FRAME_PREPARED, NULL, 0);
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
    else if (sandbox->state == READY) furnish(sandbox);
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
    case FRAME_KILL: return kill_sandbox(sandbox), NULL;
    case FRAME_RELEASE:
        sandbox->released = true;
        kill_sandbox(sandbox);
        return tell_released(sandbox), NULL;
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
    bool was_removed = sandbox->removed;
    sandbox->connection = NULL;
    streams_close(&sandbox->streams);
    kill_sandbox(sandbox);
    // What is removed from here on, also by the line above, is forgotten by on_removed.
    if (was_removed) forget(sandbox);
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
            tell_failed(sandbox, "deadline", "its deadline passed without being extended");
            kill_sandbox(sandbox);
        } else if (sandbox->deadline_ms < next_deadline_ms) {
            next_deadline_ms = sandbox->deadline_ms;
        }
    }
    return next_deadline_ms;
}

const char *sandboxes_reset(struct connection *connection) {
    if (resetter) return "a reset is under way";
    resetter = connection;
    reset_ids_bytes = 0;
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
        kill_sandbox(sandbox);
    }
    tell_reset();
    return NULL;
}

unsigned sandboxes_alive(void) {
    return alive_count;
}
