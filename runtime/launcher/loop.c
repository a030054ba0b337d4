// epoll, level-triggered.

#include "loop.h"
#include "clock.h"
#include "log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { EVENTS = 64 };

static int epoll_fd;

struct garbage {
    struct garbage *next;
    void *memory;
};
static struct garbage *garbage;

void loop_start(void) {
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0) abort();
}

bool loop_add(struct source *source, int fd, uint32_t events, void (*ready)(struct source *, uint32_t)) {
    struct epoll_event event = {.events = events, .data.ptr = source};
    *source = (struct source){.fd = fd, .events = events, .ready = ready};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0) return true;
    source->fd = -1;
    return false;
}

void loop_change(struct source *source, uint32_t events) {
    if (source->fd < 0 || source->events == events) return;
    struct epoll_event event = {.events = events, .data.ptr = source};
    source->events = events;
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, source->fd, &event);
}

void loop_remove(struct source *source) {
    if (source->fd < 0) return;
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
    source->fd = -1;
}

void loop_free(void *memory) {
    struct garbage *piece = malloc(sizeof *piece);
    if (!piece) return; // It is lost rather than freed too early.
    *piece = (struct garbage){.next = garbage, .memory = memory};
    garbage = piece;
}

static void collect_garbage(void) {
    while (garbage) {
        struct garbage *piece = garbage;
        garbage = piece->next;
        free(piece->memory);
        free(piece);
    }
}

void loop_run(int64_t (*tick)(int64_t), bool (*done)(void)) {
    struct epoll_event events[EVENTS];
    while (!done()) {
        int64_t wait = tick(now_ms()) - now_ms();
        int count = epoll_wait(epoll_fd, events, EVENTS, wait < 0 ? 0 : wait > INT32_MAX ? INT32_MAX : (int)wait);
        // Before anything is heard: a deadline that has passed is not put off by a word that lay waiting while the machine slept.
        tick(now_ms());
        for (int i = 0; i < count; i++) {
            struct source *source = events[i].data.ptr;
            if (source->fd >= 0) source->ready(source, events[i].events);
        }
        collect_garbage();
    }
}
