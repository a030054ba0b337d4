// The launcher's one loop: descriptors that are ready, in turn, and a tick when a time has come. Nothing that it calls may block.

#pragma once
#include <stdbool.h>
#include <stdint.h>

struct source {
    int fd; // -1 when it is not watched.
    uint32_t events;
    void (*ready)(struct source *source, uint32_t events);
};

void loop_start(void);
// Watches FD, which stays the caller's. False and errno if the kernel refuses.
bool loop_add(struct source *source, int fd, uint32_t events, void (*ready)(struct source *, uint32_t));
void loop_change(struct source *source, uint32_t events);
// Also events of this source that have been fetched already are dropped.
void loop_remove(struct source *source);
// Frees MEMORY once no event that has been fetched can refer to it.
void loop_free(void *memory);

// Serves until DONE says so. TICK is called before and after every round of events, and answers when it wants to be called again
// at the latest, on now_ms().
void loop_run(int64_t (*tick)(int64_t now_ms), bool (*done)(void));
