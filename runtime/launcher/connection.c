// Reads and writes a worker's socket. What comes in is parsed where it lies; only a frame that is cut by the end of a read is kept.

#include "connection.h"
#include "log.h"
#include "sandbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    READ_BYTES = 256 * 1024,
    BACKLOG_RESUME = 64 * 1024,   // Below this, streams go on.
    MAX_BACKLOG = 4 * 1024 * 1024, // Far more than windows and control frames come to: whoever lets it grow to this is not reading.
};

static struct source listener;

// ---- Out --------------------------------------------------------------------------------------------------------------

static void watch(struct connection *connection) {
    loop_change(&connection->source, EPOLLIN | (connection->out_used > connection->out_sent ? EPOLLOUT : 0));
}

static void end(struct connection *connection) {
    if (connection->closed) return;
    connection->closed = true;
    int fd = connection->source.fd;
    loop_remove(&connection->source);
    close(fd);
    sandbox_on_closed(connection);
    free(connection->in);
    free(connection->out);
    loop_free(connection);
}

// What has gone out makes room. Moving it costs no more than growing would.
static void make_room(struct connection *connection) {
    connection->out_used -= connection->out_sent;
    memmove(connection->out, connection->out + connection->out_sent, connection->out_used);
    connection->out_sent = 0;
}

static bool keep_for_later(struct connection *connection, const struct iovec *parts, int count, size_t sent) {
    for (int i = 0; i < count; i++) {
        if (sent >= parts[i].iov_len) {
            sent -= parts[i].iov_len;
            continue;
        }
        size_t length = parts[i].iov_len - sent, needed = connection->out_used + length;
        if (needed > connection->out_room && connection->out_sent > 0) make_room(connection), needed = connection->out_used + length;
        if (needed > MAX_BACKLOG) return false;
        if (needed > connection->out_room) {
            uint8_t *larger = realloc(connection->out, needed * 2);
            if (!larger) return false;
            connection->out = larger, connection->out_room = needed * 2;
        }
        memcpy(connection->out + connection->out_used, (const uint8_t *)parts[i].iov_base + sent, length);
        connection->out_used += length;
        sent = 0;
    }
    return true;
}

void connection_send(struct connection *connection, enum frame_type type, unsigned stream, const void *payload, size_t length) {
    if (!connection || connection->closed || connection->dropped) return;
    struct frame_header header = {.length = (uint32_t)length, .type = (uint8_t)type, .stream = (uint8_t)stream};
    struct iovec parts[] = {{&header, sizeof header}, {(void *)payload, length}};
    struct msghdr letter = {.msg_iov = parts, .msg_iovlen = length ? 2 : 1};
    ssize_t sent = 0;
    if (connection_backlog(connection) == 0) {
        sent = sendmsg(connection->source.fd, &letter, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) sent = 0; // If it is broken, reading tells.
        if ((size_t)sent == sizeof header + length) return;
    }
    if (!keep_for_later(connection, parts, (int)letter.msg_iovlen, (size_t)sent)) {
        connection->dropped = true;
        log_event(LOG_ERROR, "connection.dropped", "\"message\":\"its worker does not read\"");
        shutdown(connection->source.fd, SHUT_RDWR); // Ended by the next event, not under the feet of who sends.
        return;
    }
    watch(connection);
}

size_t connection_backlog(const struct connection *connection) {
    return connection->out_used - connection->out_sent;
}

static void flush(struct connection *connection) {
    size_t left = connection_backlog(connection);
    ssize_t sent = left ? send(connection->source.fd, connection->out + connection->out_sent, left, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
    if (sent > 0) connection->out_sent += (size_t)sent;
    if (connection_backlog(connection) == 0) {
        free(connection->out);
        connection->out = NULL;
        connection->out_used = connection->out_sent = connection->out_room = 0;
    }
    watch(connection);
    if (connection_backlog(connection) < BACKLOG_RESUME) sandbox_on_drained(connection);
}

void connection_refuse(struct connection *connection, const char *why) {
    char text[128] = "protocol";
    size_t length = sizeof "protocol" + strlen(why);
    log_event(LOG_WARN, "connection.refused", "\"message\":\"%s\"", log_text(why));
    if (length < sizeof text) {
        memcpy(text + sizeof "protocol", why, strlen(why));
        connection_send(connection, FRAME_FAILED, 0, text, length);
    }
    end(connection);
}

// ---- In ---------------------------------------------------------------------------------------------------------------

// Hands on what is whole. Returns how many bytes that were, or -1 if the connection is no more.
static ssize_t consume(struct connection *connection, const uint8_t *bytes, size_t count) {
    size_t at = 0;
    for (;;) {
        struct frame frame;
        size_t used = 0;
        const char *why = NULL;
        enum frame_result result = frame_read(bytes + at, count - at, &frame, &used, &why);
        if (result == FRAME_PARTIAL) return (ssize_t)at;
        if (result == FRAME_WHOLE) why = sandbox_on_frame(connection, &frame);
        if (why) return connection_refuse(connection, why), -1;
        if (connection->closed) return -1;
        at += used;
    }
}

static bool keep_rest(struct connection *connection, const uint8_t *bytes, size_t count) {
    connection->in_used = count;
    if (count == 0) {
        free(connection->in);
        connection->in = NULL, connection->in_room = 0;
        return true;
    }
    if (count > connection->in_room) {
        uint8_t *larger = realloc(connection->in, count);
        if (!larger) return false;
        connection->in = larger, connection->in_room = count;
    }
    memcpy(connection->in, bytes, count);
    return true;
}

static void receive(struct connection *connection) {
    // Shared by all connections: what is left of a frame is kept with its own.
    static uint8_t buffer[READ_BYTES + FRAME_HEADER_BYTES + MAX_FRAME_BYTES];
    size_t kept = connection->in_used;
    if (kept) memcpy(buffer, connection->in, kept);
    ssize_t got = recv(connection->source.fd, buffer + kept, READ_BYTES, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) return end(connection);
    ssize_t used = consume(connection, buffer, kept + (size_t)got);
    if (used < 0) return;
    if (!keep_rest(connection, buffer + used, kept + (size_t)got - (size_t)used)) connection_refuse(connection, "no memory");
}

static void on_ready(struct source *source, uint32_t events) {
    struct connection *connection = (struct connection *)source;
    if (events & EPOLLOUT) flush(connection);
    if (!connection->closed && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(connection);
}

// ---- Who comes --------------------------------------------------------------------------------------------------------

static bool is_root(int fd) {
    struct ucred peer;
    socklen_t length = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == 0;
}

static void on_caller(struct source *source, uint32_t events) {
    (void)events;
    int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        // Out of descriptors or memory: who waits is asked again with the next tick, and not in a circle.
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) loop_change(&listener, 0);
        return;
    }
    struct connection *connection = is_root(fd) ? calloc(1, sizeof *connection) : NULL;
    if (connection && loop_add(&connection->source, fd, EPOLLIN, on_ready)) return;
    log_event(LOG_WARN, "connection.refused", "\"message\":\"not root, or no memory\"");
    free(connection);
    close(fd);
}

void connections_listen(int socket) {
    loop_add(&listener, socket, EPOLLIN, on_caller);
}

void connections_tick(void) {
    loop_change(&listener, EPOLLIN);
}

void connections_stop(void) {
    int fd = listener.fd;
    loop_remove(&listener);
    if (fd >= 0) close(fd);
}
