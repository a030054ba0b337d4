// A PID 1 that does not do what it is there for: mayfly-blank up to the moment when it is told to go, and then what the name of the
// program says. Linked with the launcher's own blank.c in place of init/program.c.

#include "../../runtime/init/program.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void report(enum report_kind kind, uint32_t value) {
    struct report message = {.kind = kind, .value = value};
    if (write(REPORT_FD, &message, sizeof message) != sizeof message) _exit(1);
}

static void hand_over(int descriptor) {
    struct report message = {.kind = REPORT_TERMINAL};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof descriptor)];
    } control = {.header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof descriptor)}};
    memcpy(CMSG_DATA(&control.header), &descriptor, sizeof descriptor);
    struct iovec bytes = {.iov_base = &message, .iov_len = sizeof message};
    struct msghdr letter = {.msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    if (sendmsg(REPORT_FD, &letter, MSG_NOSIGNAL) != sizeof message) _exit(1);
}

static void hand_over_a_pipe(void) {
    static const char text[] = "out of a pipe";
    int ends[2];
    if (pipe(ends) || write(ends[1], text, sizeof text - 1) < 0) _exit(1);
    hand_over(ends[0]);
}

int run_launch(const struct launch *launch) {
    if (strcmp(launch->argv[0], "crash") == 0) __builtin_trap();
    if (strcmp(launch->argv[0], "hand-over-a-pipe") == 0) hand_over_a_pipe();
    report(REPORT_STARTED, 0);
    report(REPORT_EXITED, 0);
    return 0;
}
