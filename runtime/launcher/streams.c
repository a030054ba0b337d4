// Carries bytes. Reads no more than it has credit for, keeps no more than a window.

#include "streams.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

enum {
    CREDIT_STEP = STREAM_WINDOW_BYTES / 4, // Told in steps, so that small reads do not make a frame each.
    MAX_OUT_BACKLOG = 128 * 1024,          // With so much still to go out, a program waits.
    MAX_CREDIT = 1 << 30,
};

static void close_stream(struct stream *stream) {
    if (stream->fd < 0) return;
    loop_remove(&stream->source);
    close(stream->fd);
    stream->fd = -1;
}

// ---- Output -----------------------------------------------------------------------------------------------------------

static void finish_output(struct stream *stream, unsigned index) {
    close_stream(stream);
    connection_send(stream->all->connection, FRAME_END, index, NULL, 0);
}

static bool may_read(const struct stream *stream) {
    return stream->credit > 0 && connection_backlog(stream->all->connection) < MAX_OUT_BACKLOG;
}

static void on_output(struct source *source, uint32_t events) {
    static uint8_t buffer[MAX_CHUNK_BYTES];
    struct stream *stream = (struct stream *)source;
    unsigned index = (unsigned)(stream - stream->all->of);
    (void)events;
    // Without credit not even an end of file is looked at: a hang-up cannot be masked, so the descriptor is not watched then.
    if (!may_read(stream)) return loop_remove(&stream->source);
    size_t room = stream->credit < sizeof buffer ? stream->credit : sizeof buffer;
    // PID 1 has its hands on the other flags of the socket; not on these.
    ssize_t got = index == ARTIFACTS ? recv(stream->fd, buffer, room, MSG_DONTWAIT) : read(stream->fd, buffer, room);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    // A terminal that nobody holds any more says EIO.
    if (got <= 0) return finish_output(stream, index);
    stream->credit -= (uint32_t)got;
    connection_send(stream->all->connection, FRAME_OUTPUT, index, buffer, (size_t)got);
}

static void watch_output(struct stream *stream) {
    if (stream->fd >= 0 && stream->source.fd < 0 && may_read(stream)) loop_add(&stream->source, stream->fd, EPOLLIN, on_output);
}

const char *streams_on_credit(struct streams *streams, const struct frame *frame) {
    struct stream *stream = &streams->of[frame->stream];
    uint32_t more = frame_u32(frame);
    if (more > MAX_CREDIT || stream->credit + more > MAX_CREDIT) return "more credit than there can be";
    stream->credit += more;
    watch_output(stream);
    return NULL;
}

void streams_resume(struct streams *streams) {
    for (int i = STDOUT; i <= ARTIFACTS; i++) watch_output(&streams->of[i]);
}

// ---- Input ------------------------------------------------------------------------------------------------------------

static void grant(struct streams *streams, size_t taken) {
    struct input *input = &streams->input;
    input->to_credit += (uint32_t)taken;
    if (input->to_credit < CREDIT_STEP) return;
    streams->of[STDIN].credit += input->to_credit;
    uint32_t more = input->to_credit;
    input->to_credit = 0;
    connection_send(streams->connection, FRAME_CREDIT, STDIN, &more, sizeof more);
}

static void drop_input(struct streams *streams) {
    free(streams->input.bytes);
    streams->input.bytes = NULL;
    streams->input.used = streams->input.sent = 0;
}

void streams_end_input(struct streams *streams) {
    if (streams->of[STDIN].fd < 0) return;
    close_stream(&streams->of[STDIN]);
    drop_input(streams);
    connection_send(streams->connection, FRAME_END, STDIN, NULL, 0);
}

// Writes what there is. False when nobody reads any more.
static bool push_input(struct streams *streams) {
    struct input *input = &streams->input;
    while (input->sent < input->used) {
        ssize_t taken = write(streams->of[STDIN].fd, input->bytes + input->sent, input->used - input->sent);
        if (taken < 0 && errno == EINTR) continue;
        if (taken < 0) return errno == EAGAIN;
        input->sent += (size_t)taken;
        grant(streams, (size_t)taken);
    }
    drop_input(streams);
    return true;
}

static void on_input_room(struct source *source, uint32_t events);

static void settle_input(struct streams *streams) {
    struct stream *stream = &streams->of[STDIN];
    if (stream->fd < 0) return;
    if (!push_input(streams)) return streams_end_input(streams);
    bool waits = streams->input.used > 0;
    // A terminal's end of file is a character; its other side is open as long as its output is.
    if (!waits && streams->input.ends && !streams->terminal) return close_stream(stream);
    // Without anything to write the pipe is watched all the same: that its reader is gone is worth telling (EPOLLERR).
    loop_change(&stream->source, waits ? EPOLLOUT : 0);
}

static void on_input_room(struct source *source, uint32_t events) {
    struct streams *streams = ((struct stream *)source)->all;
    if (events & (EPOLLERR | EPOLLHUP)) streams_end_input(streams);
    else settle_input(streams);
}

const char *streams_on_input(struct streams *streams, const struct frame *frame) {
    struct stream *stream = &streams->of[STDIN];
    struct input *input = &streams->input;
    if (input->ends) return "input after its end";
    if (frame->length > stream->credit) return "more input than there is room for";
    if (frame->length == 0) input->ends = true;
    stream->credit -= frame->length;
    if (stream->fd < 0 && stream->opened) return NULL; // Nobody reads it: END has been sent, and crossed with this.
    if (frame->length > 0) {
        uint8_t *larger = realloc(input->bytes, input->used + frame->length);
        if (!larger) return "no memory";
        input->bytes = larger;
        memcpy(input->bytes + input->used, frame->payload, frame->length);
        input->used += frame->length;
    }
    settle_input(streams);
    return NULL;
}

// ---- Their life -------------------------------------------------------------------------------------------------------

void streams_init(struct streams *streams, struct connection *connection) {
    *streams = (struct streams){.connection = connection};
    for (int i = 0; i < STREAMS; i++) {
        struct stream *stream = &streams->of[i];
        *stream = (struct stream){.source.fd = -1, .fd = -1, .credit = STREAM_WINDOW_BYTES, .all = streams};
    }
}

static void open_stream(struct streams *streams, int index, int fd) {
    struct stream *stream = &streams->of[index];
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    stream->fd = fd;
    stream->opened = true;
    if (index == STDIN) loop_add(&stream->source, fd, 0, on_input_room);
    else watch_output(stream);
}

void streams_open(struct streams *streams, int fds[STDIO], bool terminal, bool artifacts) {
    streams->terminal = terminal;
    streams->artifacts = artifacts;
    for (int i = 0; i < STDIO; i++) {
        // In place of these two pipes, which the init closes, the terminal is still to come.
        if (terminal && i != STDERR) close(fds[i]);
        else open_stream(streams, i, fds[i]);
        fds[i] = -1;
    }
    settle_input(streams);
}

void streams_use_terminal(struct streams *streams, int master) {
    int writer = fcntl(master, F_DUPFD_CLOEXEC, 0);
    open_stream(streams, STDOUT, master);
    if (writer >= 0) open_stream(streams, STDIN, writer);
    settle_input(streams);
}

void streams_use_artifacts(struct streams *streams, int socket) {
    open_stream(streams, ARTIFACTS, socket);
}

void streams_resize(struct streams *streams, unsigned rows, unsigned columns) {
    struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
    if (streams->terminal && streams->of[STDOUT].fd >= 0) ioctl(streams->of[STDOUT].fd, TIOCSWINSZ, &size);
}

void streams_end_unopened(struct streams *streams) {
    for (int i = STDOUT; i <= ARTIFACTS; i++) {
        struct stream *stream = &streams->of[i];
        if (stream->opened || (i == ARTIFACTS && !streams->artifacts)) continue;
        stream->opened = true;
        connection_send(streams->connection, FRAME_END, (unsigned)i, NULL, 0);
    }
}

void streams_close(struct streams *streams) {
    for (int i = 0; i < STREAMS; i++) close_stream(&streams->of[i]);
    drop_input(streams);
    streams->connection = NULL;
}
