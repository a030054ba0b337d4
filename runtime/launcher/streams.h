// The program's stdin, stdout and stderr, between its pipes (or its terminal) and the worker's frames; and its artifacts.
//
// Both ways the receiver says how much it has room for. A program that floods is stopped by its own pipe once its credit is used;
// input that a program does not read waits here, a window at the most.

#pragma once
#include "connection.h"

enum { STDIN, STDOUT, STDERR, ARTIFACTS, STREAMS, STDIO = ARTIFACTS };

struct stream {
    struct source source;
    int fd;          // -1 before it is opened, and once it is over.
    bool opened;     // At some time.
    uint32_t credit; // Output: bytes that the worker has room for. Input: bytes that we have room for.
    struct streams *all;
};

struct input {
    uint8_t *bytes; // What the program has not taken yet.
    size_t used, sent;
    uint32_t to_credit; // Taken, and not told yet.
    bool ends;      // The worker has sent its end of file.
};

struct streams {
    struct connection *connection;
    struct stream of[STREAMS];
    struct input input;
    bool terminal;  // Of STDIN and STDOUT: one pseudo-terminal.
    bool artifacts; // They are wanted.
};

void streams_init(struct streams *streams, struct connection *connection);
// From here on bytes flow. FDS are the launcher's ends, taken over. With a TERMINAL to come, only stderr is a pipe.
void streams_open(struct streams *streams, int fds[STDIO], bool terminal, bool artifacts);
// From which they are read, once the program has ended. Takes SOCKET over.
void streams_use_artifacts(struct streams *streams, int socket);
// The program's stdin and stdout. Takes MASTER over.
void streams_use_terminal(struct streams *streams, int master);
// NULL, or what is wrong with the frame.
const char *streams_on_input(struct streams *streams, const struct frame *frame);
const char *streams_on_credit(struct streams *streams, const struct frame *frame);
void streams_resize(struct streams *streams, unsigned rows, unsigned columns);
// The connection has room again.
void streams_resume(struct streams *streams);
// Nobody reads input any more; what is left of the output still goes its way.
void streams_end_input(struct streams *streams);
// Of a sandbox that is gone: output that never came to be (a terminal that did not arrive, artifacts of a program that was killed) is over as well.
void streams_end_unopened(struct streams *streams);
void streams_close(struct streams *streams);
