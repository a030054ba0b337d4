// From a blank to a program that runs, and what the blank's PID 1 tells of it.
//
//   the program to the blank → a maker mounts the image, and tells the blank to go → the blank reports that it has started
//
// PID 1 is not trusted once the program runs: its reports are of fixed size, and each is taken once, in order.

#include "start.h"
#include "clock.h"
#include "host.h"
#include "makers.h"
#include "plan.h"

#include "../init/report.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

// ---- What PID 1 reports --------------------------------------------------------------------------------------------------------

// The loop reads it without waiting, and must be sure that it does not wait: PID 1 keeps the same open file.
static bool is_terminal_master(int descriptor) {
    struct stat status;
    return fstat(descriptor, &status) == 0 && S_ISCHR(status.st_mode) && status.st_rdev == makedev(5, 2);
}

// Whatever else it is that PID 1 does to it: a socket can always be read without waiting (MSG_DONTWAIT). One of this kind ends with
// whoever is at its other end.
static bool is_local_stream(int descriptor) {
    int domain, type;
    return getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &(socklen_t){sizeof domain}) == 0 && domain == AF_UNIX &&
           getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &(socklen_t){sizeof type}) == 0 && type == SOCK_STREAM;
}

static void on_started(struct sandbox *sandbox, uint32_t start_us) {
    int64_t all_us = now_us() - sandbox->asked_us;
    struct started started = {.start_us = start_us, .was_blank = sandbox->was_ready};
    started.furnish_us = all_us > start_us ? (uint64_t)(all_us - start_us) : 0;
    sandbox->state = RUNNING;
    sandbox_tell(sandbox, FRAME_STARTED, &started, sizeof started);
}

static void on_artifacts(struct sandbox *sandbox, int descriptor) {
    if (sandbox->connection && is_local_stream(descriptor)) streams_use_artifacts(&sandbox->streams, descriptor);
    else if (descriptor >= 0) close(descriptor);
}

// How it ended stands from here on, whatever comes of its artifacts.
static void on_exited(struct sandbox *sandbox, uint32_t status) {
    sandbox->exit_report = (int)(status & 0xff7f);
    if (sandbox->streams.artifacts) sandbox_tell(sandbox, FRAME_COLLECTING, NULL, 0);
}

static void on_no_files(struct sandbox *sandbox, unsigned which, int error) {
    char text[128];
    snprintf(text, sizeof text, "%u %s", which, strerror(error));
    sandbox_tell_failed(sandbox, "files", text);
}

static void on_report(struct sandbox *sandbox, const struct report *report, int descriptor) {
    int error = (int)(report->value & 0xff);
    switch (report->kind) {
    case REPORT_TERMINAL:
        if (descriptor < 0) return sandbox_on_failure(sandbox, "init", "its terminal did not arrive");
        if (sandbox->connection && is_terminal_master(descriptor)) streams_use_terminal(&sandbox->streams, descriptor);
        else close(descriptor); // Nobody is there to use it, or it is something else.
        return;
    case REPORT_ARTIFACTS: return on_artifacts(sandbox, descriptor);
    case REPORT_STARTED: return on_started(sandbox, report->value);
    case REPORT_EXITED: return on_exited(sandbox, report->value);
    case REPORT_NO_EXEC: return; // The init's own exit code is 127 or 126, as a shell's.
    case REPORT_NO_USER: return sandbox_tell_failed(sandbox, "user", "the image has no such user or group");
    case REPORT_NO_WORKDIR: return sandbox_tell_failed(sandbox, "workdir", strerror(error));
    case REPORT_NO_FILES: return on_no_files(sandbox, report->value >> 8, error);
    default: return sandbox_tell_failed(sandbox, "init", strerror(error));
    }
}

// Nothing that PID 1 says is believed twice, out of order, or once it has nothing more to say.
static bool is_expected(const struct sandbox *sandbox, const struct report *report) {
    return sandbox->state >= STARTING && report->kind > sandbox->last_report && report->kind > REPORT_READY &&
           report->kind <= REPORT_LAST && (report->kind != REPORT_TERMINAL || sandbox->streams.terminal) &&
           (report->kind != REPORT_ARTIFACTS || sandbox->streams.artifacts);
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
    // The space of one has room for two: what is more than was asked for is closed.
    int sent[2] = {-1, -1};
    if (header && header->cmsg_type == SCM_RIGHTS && header->cmsg_len <= CMSG_LEN(sizeof sent))
        memcpy(sent, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
    if (sent[1] >= 0) close(sent[1]);
    *descriptor = sent[0];
    return got;
}

void start_read_reports(struct sandbox *sandbox) {
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
        if (descriptor >= 0 && !(is_taken && (report.kind == REPORT_TERMINAL || report.kind == REPORT_ARTIFACTS))) close(descriptor);
        if (!is_taken || report.kind >= REPORT_EXITED) break;
    }
    loop_remove(&sandbox->channel); // It has said all it may.
}

// ---- Starting ---------------------------------------------------------------------------------------------------------

static bool read_request(const struct sandbox *sandbox, struct run_request *run) {
    const char *why;
    struct frame frame = {.type = FRAME_RUN, .payload = sandbox->request, .length = sandbox->request_bytes};
    return frame_read_run(&frame, run, &why);
}

// The strings as they came, behind the numbers. True once all of it has gone.
static bool send_program(struct sandbox *sandbox) {
    struct run_request run;
    if (!read_request(sandbox, &run)) return false; // It has been read before.
    struct blank_program head = {.bytes = (uint32_t)run.program_bytes, .arguments = run.header.arguments,
                                 .environment = run.header.environment, .rows = run.header.rows,
                                 .columns = run.header.columns, .flags = run.header.flags,
                                 .patterns = run.header.patterns, .artifact_files = run.header.artifact_files,
                                 .artifact_bytes = run.header.artifact_bytes};
    size_t all = sizeof head + run.program_bytes, sent = sandbox->program_sent;
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)run.program, run.program_bytes}};
    unsigned first = sent < sizeof head ? 0 : 1;
    size_t skip = first ? sent - sizeof head : sent;
    parts[first].iov_base = (char *)parts[first].iov_base + skip, parts[first].iov_len -= skip;
    struct msghdr letter = {.msg_iov = parts + first, .msg_iovlen = 2 - first};
    ssize_t more = sendmsg(sandbox->blank->channel, &letter, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (more < 0 && errno != EAGAIN && errno != EINTR) return sandbox_kill(sandbox), false;
    if (more > 0) sandbox->program_sent += (size_t)more;
    return sandbox->program_sent == all;
}

// Its word may come after the blank's own, which has been told to go by then.
static void on_furnished(struct task *task, const struct job_result *result, int descriptors[BLANK_DESCRIPTORS]) {
    struct sandbox *sandbox = task->owner;
    (void)descriptors;
    sandbox->at_maker = false;
    if (result->failed && !sandbox->killed) return sandbox_on_failure(sandbox, result->stage, result->text);
    sandbox_remove_when_over(sandbox);
}

// Layers are named below the directory of layers: a worker cannot have anything else of the host mounted.
static bool copy_layers(const struct run_request *run, struct job *job, size_t *bytes) {
    const char *layer = run->layers;
    char *out = job->layer_paths;
    size_t prefix = strlen(host_layers());
    for (unsigned i = 0; i < run->header.layers; i++, layer += strlen(layer) + 1) {
        if (strncmp(layer, host_layers(), prefix) != 0 || layer[prefix] != '/') return false;
        // "." would be the directory of layers itself, and all of them.
        if (layer[prefix + 1] == '\0' || layer[prefix + 1] == '.' || strstr(layer + prefix, "/./")) return false;
        out = stpcpy(out, layer + prefix + 1) + 1;
    }
    *bytes = (size_t)(out - job->layer_paths);
    return true;
}

static struct task *new_furnishing(struct sandbox *sandbox, const struct run_request *run) {
    size_t layer_bytes = (size_t)(run->program - run->layers);
    struct task *task = layer_bytes <= MAX_LAYER_BYTES ? task_new(JOB_FURNISH, sandbox->blank->name, layer_bytes) : NULL;
    if (!task) return NULL;
    struct job *job = task->job;
    job->disk_bytes = run->header.disk_bytes;
    job->layers = run->header.layers;
    job->limits = (struct cgroup_limits){run->header.memory_bytes, run->header.cpu_quota_us, run->header.pids};
    snprintf(job->hostname, sizeof job->hostname, "%s", run->hostname);
    task->urgent = true;
    task->done = on_furnished;
    task->owner = sandbox;
    task->descriptors[0] = fcntl(sandbox->blank->pidfd, F_DUPFD_CLOEXEC, 0);
    task->descriptors[1] = fcntl(sandbox->blank->channel, F_DUPFD_CLOEXEC, 0);
    if (task->descriptors[0] >= 0 && task->descriptors[1] >= 0 && copy_layers(run, job, &layer_bytes)) {
        task->bytes = sizeof *job + layer_bytes;
        return task;
    }
    task_free(task);
    return NULL;
}

// The blank has its program; now its image.
static void furnish(struct sandbox *sandbox) {
    struct run_request run;
    struct task *task = read_request(sandbox, &run) ? new_furnishing(sandbox, &run) : NULL;
    free(sandbox->request);
    sandbox->request = NULL;
    loop_change(&sandbox->channel, EPOLLIN);
    if (!task) return sandbox_on_failure(sandbox, "mount", "its layers are not where this host keeps layers, or there is no memory");
    sandbox->at_maker = true;
    makers_submit(task);
}

static void on_channel(struct source *source, uint32_t events) {
    struct sandbox *sandbox = (struct sandbox *)((char *)source - offsetof(struct sandbox, channel));
    if (events & EPOLLOUT && sandbox->request && send_program(sandbox)) furnish(sandbox);
    if (sandbox->blank && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) start_read_reports(sandbox);
}

void start_sandbox(struct sandbox *sandbox) {
    struct run_request run;
    if (!read_request(sandbox, &run)) return sandbox_on_failure(sandbox, "protocol", "a run that cannot be read");
    sandbox->state = STARTING;
    streams_open(&sandbox->streams, sandbox->blank->streams, run.header.rows > 0, run.header.patterns > 0);
    if (!loop_add(&sandbox->channel, sandbox->blank->channel, EPOLLIN | EPOLLOUT, on_channel))
        return sandbox_on_failure(sandbox, "init", strerror(errno));
    if (send_program(sandbox)) furnish(sandbox);
}
