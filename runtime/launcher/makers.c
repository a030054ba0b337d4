// Starts makers, hands them jobs, and starts another when one is lost.

#include "makers.h"
#include "log.h"
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DESCRIPTORS_KEPT = 16, SOCKET_BYTES = 4 * MAX_LAYER_BYTES, MAX_LOST = 3 };

struct maker {
    struct source source;
    pid_t pid;
    struct task *task; // At work on it, or NULL.
    bool is_proven;    // It has done a job.
};

// Memory shared with the makers: the PID of the blank that each is making. A maker that is lost cannot tell it any more, and the
// blank is the launcher's child to reap.
static pid_t *at_blank;

struct queue {
    struct task *first, **last;
};

static struct maker makers[MAKERS];
static struct queue urgent = {NULL, &urgent.first}, patient = {NULL, &patient.first};
static const struct maker_context *context;
static unsigned at_patient_work;

static void start_maker(struct maker *maker);

// ---- The queue --------------------------------------------------------------------------------------------------------

static void push(struct queue *queue, struct task *task) {
    task->next = NULL;
    *queue->last = task;
    queue->last = &task->next;
}

static struct task *pop(struct queue *queue) {
    struct task *task = queue->first;
    if (task && !(queue->first = task->next)) queue->last = &queue->first;
    return task;
}

static void close_descriptors(struct task *task) {
    for (int i = 0; i < JOB_DESCRIPTORS; i++) {
        if (task->descriptors[i] >= 0) close(task->descriptors[i]);
        task->descriptors[i] = -1;
    }
}

void task_free(struct task *task) {
    close_descriptors(task);
    free(task->job);
    free(task);
}

static void finish(struct task *task, const struct job_result *result, int descriptors[BLANK_DESCRIPTORS]) {
    task->done(task, result, descriptors);
    task_free(task);
}

static bool send_task(struct maker *maker, const struct task *task) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(JOB_DESCRIPTORS * sizeof(int))];
    } control = {.header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    unsigned count = 0;
    while (count < JOB_DESCRIPTORS && task->descriptors[count] >= 0) count++;
    struct iovec bytes = {.iov_base = task->job, .iov_len = task->bytes};
    struct msghdr letter = {.msg_iov = &bytes, .msg_iovlen = 1};
    if (count > 0) {
        control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(&control.header), task->descriptors, count * sizeof(int));
        letter.msg_control = &control;
        letter.msg_controllen = CMSG_SPACE(count * sizeof(int));
    }
    return sendmsg(maker->source.fd, &letter, MSG_NOSIGNAL) == (ssize_t)task->bytes;
}

static struct task *next_task(void) {
    if (urgent.first) return pop(&urgent);
    return at_patient_work < MAKERS - MAKERS_KEPT ? pop(&patient) : NULL;
}

static void lose(struct maker *maker);

static void dispatch(void) {
    for (unsigned i = 0; i < MAKERS; i++) {
        struct maker *maker = &makers[i];
        if (maker->task || maker->source.fd < 0) continue;
        struct task *task = next_task();
        if (!task) return;
        maker->task = task;
        at_patient_work += !task->urgent;
        // The maker's copies are those that count from here on: ours must not be the last of a mount namespace.
        if (send_task(maker, task)) close_descriptors(task);
        else lose(maker);
    }
}

struct task *task_new(enum job_kind kind, const char *name, size_t layer_bytes) {
    struct task *task = calloc(1, sizeof *task);
    struct job *job = calloc(1, sizeof *job + layer_bytes);
    if (!task || !job) return free(task), free(job), NULL;
    job->kind = kind;
    snprintf(job->name, sizeof job->name, "%s", name);
    *task = (struct task){.job = job, .bytes = sizeof *job + layer_bytes, .descriptors = {-1, -1}};
    return task;
}

void makers_submit(struct task *task) {
    push(task->urgent ? &urgent : &patient, task);
    dispatch();
}

// ---- The makers -------------------------------------------------------------------------------------------------------

static struct task *take_task(struct maker *maker) {
    struct task *task = maker->task;
    maker->task = NULL;
    if (task && !task->urgent) at_patient_work--;
    return task;
}

static void lose(struct maker *maker) {
    struct task *task = take_task(maker);
    struct job_result result = {0};
    int none[BLANK_DESCRIPTORS];
    memset(none, -1, sizeof none);
    pid_t blank_pid = at_blank[maker - makers];
    log_event(LOG_ERROR, "maker.lost", "\"pid\":%d,\"job\":%u", maker->pid, task ? task->job->kind : 0);
    int socket = maker->source.fd;
    loop_remove(&maker->source);
    close(socket);
    kill(maker->pid, SIGKILL);
    waitpid(maker->pid, NULL, 0);
    maker->pid = -1;
    // One that has never done anything may not be able to: makers_tick() tries again, and not in a circle.
    if (maker->is_proven) start_maker(maker);
    if (!task) return;
    if (task->job->kind == JOB_REMOVE && ++task->lost < MAX_LOST) return push(&patient, task); // May be done again.
    job_failed(&result, "maker", "the process at work on it was lost", ECHILD);
    if (task->job->kind == JOB_MAKE) result.pid = blank_pid;
    finish(task, &result, none);
}

static void on_result(struct source *source, uint32_t events) {
    struct maker *maker = (struct maker *)source;
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(BLANK_DESCRIPTORS * sizeof(int))];
    } control;
    struct job_result result;
    int descriptors[BLANK_DESCRIPTORS];
    struct iovec bytes = {.iov_base = &result, .iov_len = sizeof result};
    struct msghdr letter = {.msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    (void)events;
    ssize_t got = recvmsg(source->fd, &letter, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    struct task *task = got == sizeof result ? take_task(maker) : NULL;
    if (!task) return lose(maker), dispatch();
    maker->is_proven = true;
    at_blank[maker - makers] = 0; // From here on it is whose it is.
    struct cmsghdr *header = CMSG_FIRSTHDR(&letter);
    memset(descriptors, -1, sizeof descriptors);
    // Of a blank there may be fewer than all, if there is no room for more: whoever takes it finds one missing.
    if (header && header->cmsg_len <= CMSG_LEN(sizeof descriptors)) memcpy(descriptors, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
    finish(task, &result, descriptors);
    dispatch();
}

static int by_number(const void *a, const void *b) {
    return *(const int *)a - *(const int *)b;
}

// A maker that is started late would have a copy of every sandbox's descriptors, and hold streams open that have ended.
static void keep_descriptors(int socket) {
    int kept[DESCRIPTORS_KEPT] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, socket, context->plan_fd, context->blank_fd,
                                  context->home_fd, context->policy->filter_fd};
    unsigned count = 8;
    for (unsigned i = 0; i < context->cgroups->count; i++) kept[count++] = context->cgroups->hierarchies[i].parent_fd;
    qsort(kept, count, sizeof *kept, by_number);
    for (unsigned i = 0; i + 1 < count; i++) {
        if (kept[i + 1] > kept[i] + 1) close_range((unsigned)kept[i] + 1, (unsigned)kept[i + 1] - 1, 0);
    }
    close_range((unsigned)kept[count - 1] + 1, ~0U, 0);
}

static void start_maker(struct maker *maker) {
    int ends[2], size = SOCKET_BYTES;
    pid_t *blank_pid = &at_blank[maker - makers];
    maker->source.fd = -1;
    maker->is_proven = false;
    *blank_pid = 0;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) return;
    for (int i = 0; i < 2; i++) setsockopt(ends[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    maker->pid = fork();
    if (maker->pid == 0) {
        keep_descriptors(ends[1]);
        maker_run(ends[1], context, blank_pid);
    }
    close(ends[1]);
    if (maker->pid > 0 && loop_add(&maker->source, ends[0], EPOLLIN, on_result)) return;
    close(ends[0]);
    log_event(LOG_ERROR, "maker.not_started", "\"message\":\"%s\"", log_text(strerror(errno)));
}

void makers_start(const struct maker_context *maker_context) {
    context = maker_context;
    at_blank = mmap(NULL, MAKERS * sizeof *at_blank, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at_blank == MAP_FAILED) abort();
    for (unsigned i = 0; i < MAKERS; i++) start_maker(&makers[i]);
}

void makers_tick(void) {
    for (unsigned i = 0; i < MAKERS; i++) {
        if (makers[i].source.fd < 0) start_maker(&makers[i]);
    }
    dispatch();
}

void makers_stop(void) {
    for (unsigned i = 0; i < MAKERS; i++) {
        if (makers[i].pid > 0) kill(makers[i].pid, SIGKILL);
    }
}
