// connection.c with a worker that reads slowly: what is still to go out never comes to nothing, and all of it comes.
//
// Prints how many bytes the worker has had when SENT_BYTES have been sent, or when its connection was ended.

#include "../../runtime/launcher/connection.h"
#include "../../runtime/launcher/sandbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { SENT_BYTES = 16 * 1024 * 1024, CHUNK_BYTES = 60 * 1024, MUCH = 128 * 1024, SMALL_BUFFER = 4096 };

static int worker;
static size_t sent, received;
static bool over;

static void send_more(struct connection *connection) {
    static uint8_t chunk[CHUNK_BYTES];
    while (sent < SENT_BYTES && connection_backlog(connection) < MUCH) {
        connection_send(connection, FRAME_OUTPUT, 1, chunk, sizeof chunk);
        sent += sizeof chunk + FRAME_HEADER_BYTES;
    }
}

const char *sandbox_on_frame(struct connection *connection, const struct frame *frame) {
    int bytes = SMALL_BUFFER;
    (void)frame;
    setsockopt(connection->source.fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    send_more(connection);
    return NULL;
}

void sandbox_on_closed(struct connection *connection) {
    (void)connection;
    over = true;
}

void sandbox_on_drained(struct connection *connection) {
    send_more(connection);
}

static int64_t tick(int64_t now) {
    static uint8_t buffer[1000];
    ssize_t got = recv(worker, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got > 0) received += (size_t)got;
    if (sent >= SENT_BYTES && received == sent && worker >= 0) close(worker), worker = -1;
    return now;
}

static bool done(void) {
    return over;
}

int main(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t length = sizeof(sa_family_t); // The kernel gives it a name of its own (unix(7), autobind).
    int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct frame_header status = {.type = FRAME_STATUS};
    loop_start();
    if (bind(listening, (struct sockaddr *)&address, length) || listen(listening, 1)) return 1;
    length = sizeof address;
    getsockname(listening, (struct sockaddr *)&address, &length);
    worker = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(worker, (struct sockaddr *)&address, length) || write(worker, &status, sizeof status) < 0) return 1;
    connections_listen(listening);
    loop_run(tick, done);
    printf("%zu of %zu\n", received, sent);
    return received == sent ? 0 : 1;
}
