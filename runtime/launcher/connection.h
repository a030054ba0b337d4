// One worker's connection: frames in, frames out. It knows nothing of what they mean; sandbox.h does.

#pragma once
#include "frame.h"
#include "loop.h"

#include <sys/types.h>

struct sandbox;

struct connection {
    struct source source;
    uint8_t *in;        // A frame that has not come in whole.
    size_t in_used, in_room;
    uint8_t *out;       // What the socket would not take yet.
    size_t out_used, out_room, out_sent;
    bool dropped;       // Nothing more is sent: its worker does not read. It ends with the next event.
    bool closed;        // Nothing more is read or sent; it is freed after the events at hand.
    struct sandbox *sandbox;
};

// Accepts whoever is root on this host, and closes on everybody else.
void connections_listen(int socket);
// Each second.
void connections_tick(void);
void connections_stop(void);

void connection_send(struct connection *connection, enum frame_type type, unsigned stream, const void *payload, size_t length);
// Bytes that are still to go out. Streams are read only while this is small.
size_t connection_backlog(const struct connection *connection);
// Tells why, if it still can, and ends it with its sandbox.
void connection_refuse(struct connection *connection, const char *why);
