// One sandbox, from a worker's first frame to its removal: what may come when, and who is told what.
//
//   NEW ─PREPARE/RUN─▶ WAITING ─a blank─▶ READY ─RUN─▶ STARTING ─report─▶ RUNNING
//                                                                            │
//    every state ──deadline, KILL, connection closed──▶ killed ──▶ ENDED ◀───┘ PID 1 is gone
//
// One idea: whatever the worker does, or fails to do, the sandbox ends; and whatever its PID 1 says, the kernel's word counts.

#pragma once
#include "blanks.h"
#include "connection.h"
#include "streams.h"

enum sandbox_state { NEW, WAITING, READY, STARTING, RUNNING, ENDED };

struct sandbox {
    enum sandbox_state state;
    struct connection *connection; // NULL once it is closed.
    struct blank *blank;           // NULL before there is one, and once it is being removed.
    struct streams streams;
    struct source channel;         // Reports of PID 1.
    struct sandbox *next, *previous, *next_waiting;
    char id[MAX_ID_BYTES + 1];
    uint8_t *request;              // A copy of the RUN frame's payload until it has been handed to the blank.
    uint32_t request_bytes;
    size_t program_sent;
    int64_t deadline_ms, asked_us;
    uint32_t last_report;          // Reports come once each, in order.
    int exit_report;               // Wait status that PID 1 has reported, or -1.
    bool was_ready, at_maker, killed, told, released, removing, removed, forgotten, is_reset;
    const char *why_not_removed;
};

// NULL, or why the connection is to be closed.
const char *sandbox_on_frame(struct connection *connection, const struct frame *frame);
// Of the connection, which may be without a sandbox.
void sandbox_on_closed(struct connection *connection);
void sandbox_on_drained(struct connection *connection);
// Of the pool: a blank for it, or none to be had; its blank's PID 1 is gone.
void sandbox_on_blank(struct sandbox *sandbox, struct blank *blank);
void sandbox_on_failure(struct sandbox *sandbox, const char *stage, const char *text);
void sandbox_on_gone(struct sandbox *sandbox);

// For start.c.
void sandbox_tell(struct sandbox *sandbox, enum frame_type type, const void *payload, size_t length);
// FAILED, unless it has been told already how it ended.
void sandbox_tell_failed(struct sandbox *sandbox, const char *stage, const char *text);
void sandbox_kill(struct sandbox *sandbox);
// Once nothing of it runs and no maker is at it.
void sandbox_remove_when_over(struct sandbox *sandbox);

// Kills those whose deadline has passed. When the next one does, on now_ms().
int64_t sandboxes_check(int64_t now_ms);
// Kills all of them. CONNECTION is told their ids once they are gone; or NULL.
const char *sandboxes_reset(struct connection *connection);
unsigned sandboxes_alive(void);
