// A PID 1 that does not do what it is there for: mayfly-blank up to the moment when it is told to go, and then what the name of the
// program says. Linked with the launcher's own blank.c in place of init/program.c.

#include "../../runtime/init/program.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void report(enum report_kind kind, uint32_t value) {
    struct report message = {.kind = kind, .value = value};
    if (write(REPORT_FD, &message, sizeof message) != sizeof message) _exit(1);
}

static void hand_over(enum report_kind kind, int descriptor) {
    struct report message = {.kind = kind};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof descriptor)];
    } control = {.header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof descriptor)}};
    memcpy(CMSG_DATA(&control.header), &descriptor, sizeof descriptor);
    struct iovec bytes = {.iov_base = &message, .iov_len = sizeof message};
    struct msghdr letter = {.msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    if (sendmsg(REPORT_FD, &letter, MSG_NOSIGNAL) != sizeof message) _exit(1);
}

static void hand_over_a_pipe(enum report_kind kind) {
    static const char text[] = "out of a pipe";
    int ends[2];
    if (pipe(ends) || write(ends[1], text, sizeof text - 1) < 0) _exit(1);
    hand_over(kind, ends[0]);
}

static void hand_over_a_socket(bool connected) {
    int ends[2];
    if (!connected) return hand_over(REPORT_ARTIFACTS, socket(AF_UNIX, SOCK_STREAM, 0));
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) _exit(1);
    hand_over(REPORT_ARTIFACTS, ends[0]);
}

// Says that it reads without waiting no more, takes what lies there, and stays: who has been told of bytes finds none.
static void steal(void) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) _exit(1);
    hand_over(REPORT_ARTIFACTS, ends[0]);
    report(REPORT_EXITED, 0);
    for (char byte;;) {
        fcntl(ends[0], F_SETFL, O_RDWR);
        if (send(ends[1], "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) continue;
        recv(ends[0], &byte, 1, MSG_DONTWAIT);
    }
}

static bool is(const struct launch *launch, const char *name) {
    return strcmp(launch->argv[0], name) == 0;
}

int run_launch(const struct launch *launch) {
    if (is(launch, "crash")) __builtin_trap();
    if (is(launch, "hand-over-a-pipe")) hand_over_a_pipe(REPORT_TERMINAL);
    report(REPORT_STARTED, 0);
    if (is(launch, "artifacts-of-a-pipe")) hand_over_a_pipe(REPORT_ARTIFACTS);
    if (is(launch, "artifacts-of-a-file")) hand_over(REPORT_ARTIFACTS, open("/", O_RDONLY));
    if (is(launch, "artifacts-of-nobody")) hand_over_a_socket(false);
    if (is(launch, "artifacts-of-none")) report(REPORT_ARTIFACTS, 0);
    if (is(launch, "artifacts-twice")) hand_over_a_socket(true), hand_over_a_socket(true);
    if (is(launch, "artifacts-stolen")) steal();
    report(REPORT_EXITED, 0);
    return 0;
}
