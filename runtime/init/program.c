// PID 1 of a container, once it stands inside.
//
// What is left to do needs the image's own files, and is safest done here, where a symlink in the image can lead nowhere
// else: look up the user, make the working directory, find the program on PATH. Then it starts the program, reaps orphans, and
// passes signals on. When the program ends it sends the artifacts that are wanted (artifacts.h) and ends, and the kernel ends the rest.
//
// Why not let the program be PID 1: the kernel ignores signals to PID 1 that it does not handle, so SIGTERM would not
// end a plain `sleep`, and a program that crashes by abort() would seem to exit well.

#include "program.h"
#include "account.h"
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum {
    EXIT_NOT_FOUND = 127,
    EXIT_NOT_EXECUTABLE = 126,
    STACK_BYTES = 64 * 1024, // Of the process that becomes the program; execvp copies one path, of PATH_MAX at most.
};

void report(enum report_kind kind, uint32_t value) {
    struct report message = {.kind = kind, .value = value};
    if (write(REPORT_FD, &message, sizeof message) != sizeof message) _exit(EXIT_NOT_EXECUTABLE);
}

static _Noreturn void give_up(enum report_kind kind, int value, const char *what) {
    if (kind == REPORT_NO_USER) dprintf(STDERR_FILENO, "mayfly: no such user or group in the image: %s\n", what);
    else dprintf(STDERR_FILENO, "mayfly: \"%s\": %s\n", what, strerror(value));
    report(kind, (uint32_t)value);
    _exit(kind == REPORT_NO_EXEC && value == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}

// ---- Where it runs ----------------------------------------------------------------------------------------------------

// mkdir -p, as the container's root.
static int make_directories(const char *path) {
    char copy[PATH_MAX];
    if ((size_t)snprintf(copy, sizeof copy, "%s", path) >= sizeof copy) return ENAMETOOLONG;
    for (char *slash = copy + 1;; *slash++ = '/') {
        slash = strchrnul(slash, '/');
        bool last = *slash == '\0';
        *slash = '\0';
        if (mkdir(copy, 0755) && errno != EEXIST) return errno;
        if (last) return 0;
    }
}

static void receive_files(const struct account *account) {
    unsigned which;
    int error = place_files(account, &which);
    if (error == 0) return;
    dprintf(STDERR_FILENO, "mayfly: files[%u]: %s\n", which, strerror(error));
    report(REPORT_NO_FILES, which << 8 | (uint32_t)error);
    _exit(EXIT_NOT_EXECUTABLE);
}

static void enter_workdir(const char *workdir) {
    if (chdir(workdir) == 0) return;
    int error = errno == ENOENT ? make_directories(workdir) : errno;
    if (error == 0 && chdir(workdir)) error = errno;
    if (error) give_up(REPORT_NO_WORKDIR, error, workdir);
}

static void report_with(enum report_kind kind, int descriptor) {
    struct report message = {.kind = kind};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof descriptor)];
    } control = {.header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof descriptor)}};
    memcpy(CMSG_DATA(&control.header), &descriptor, sizeof descriptor);
    struct iovec bytes = {.iov_base = &message, .iov_len = sizeof message};
    struct msghdr letter = {.msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    if (sendmsg(REPORT_FD, &letter, MSG_NOSIGNAL) != sizeof message) _exit(EXIT_NOT_EXECUTABLE);
}

// Hands the master to the watcher, and leaves the program's side at 0, 1 and 2.
static void open_terminal(const struct launch *launch) {
    int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC), unlock = 0;
    if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock)) give_up(REPORT_NO_SETUP, errno, "pseudo-terminal");
    int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct winsize size = {.ws_row = launch->rows, .ws_col = launch->columns};
    if (slave < 0 || ioctl(slave, TIOCSWINSZ, &size)) give_up(REPORT_NO_SETUP, errno, "pseudo-terminal");

    report_with(REPORT_TERMINAL, master);
    close(master);
    for (int fd = 0; fd <= 2; fd++) dup2(slave, fd);
    close(slave);
}

// ---- The program ------------------------------------------------------------------------------------------------------

// Shared with the process that becomes the program: until it executes, the two share their memory, and only one of them runs.
struct start {
    const struct launch *launch;
    const struct account *account;
    const char *failed; // What it could not do before it came to execute, or NULL.
    int error;
};

// The streams belong to root; a program of another user must be able to reopen them as /dev/stdout.
static const char *become(const struct account *account) {
    for (int fd = 0; fd <= 2; fd++) {
        if (fchown(fd, account->uid, account->gid) && errno != EINVAL && errno != EPERM) return "chown of stdio";
    }
    if (setgroups(account->group_count, account->groups)) return "setgroups";
    if (setresgid(account->gid, account->gid, account->gid)) return "setresgid";
    if (setresuid(account->uid, account->uid, account->uid)) return "setresuid";
    return NULL;
}

static int turn_into_program(void *argument) {
    struct start *start = argument;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    if (start->launch->terminal && ioctl(STDIN_FILENO, TIOCSCTTY, 0)) start->failed = "controlling terminal";
    else start->failed = become(start->account);
    if (!start->failed) execvp(start->launch->argv[0], start->launch->argv);
    start->error = errno;
    _exit(EXIT_NOT_FOUND);
}

// Like vfork: returns when the program has been executed, or could not be. No page of ours is copied for it.
static pid_t start_program(const struct launch *launch, const struct account *account) {
    static char stack[STACK_BYTES] __attribute__((aligned(16)));
    struct start start = {.launch = launch, .account = account};
    pid_t program = clone(turn_into_program, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &start);
    if (program < 0) give_up(REPORT_NO_SETUP, errno, "fork");
    if (start.failed) give_up(REPORT_NO_SETUP, start.error, start.failed);
    if (start.error) give_up(REPORT_NO_EXEC, start.error, launch->argv[0]);
    return program;
}

// ---- Its life ---------------------------------------------------------------------------------------------------------

// Reaps whatever has ended. Returns true, and the wait status, once PROGRAM is among it.
static bool reap(pid_t program, int *status) {
    for (;;) {
        int ended;
        pid_t pid = waitpid(-1, &ended, WNOHANG);
        if (pid <= 0) return false;
        if (pid == program) {
            *status = ended;
            return true;
        }
    }
}

// Only from outside: a process of the container's has a pid here, and what it sends is passed on.
static bool is_end_signal(const struct signalfd_siginfo *signal) {
    return signal->ssi_signo == END_SIGNAL && signal->ssi_pid == 0;
}

static int watch_over(pid_t program, int signals) {
    struct pollfd fds[] = {{.fd = signals, .events = POLLIN}, {.fd = REPORT_FD}};
    for (int status;;) {
        if (poll(fds, 2, -1) < 0) continue;
        if (fds[1].revents & (POLLHUP | POLLERR)) _exit(EXIT_NOT_EXECUTABLE); // The watcher is gone.
        struct signalfd_siginfo signal;
        if (!(fds[0].revents & POLLIN) || read(signals, &signal, sizeof signal) != sizeof signal) continue;
        if (is_end_signal(&signal)) kill(-1, SIGKILL);
        else if (signal.ssi_signo != SIGCHLD) kill(program, (int)signal.ssi_signo);
        else if (reap(program, &status)) return status;
    }
}

static uint32_t microseconds_since(const struct timespec *then) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)((now.tv_sec - then->tv_sec) * 1000000 + (now.tv_nsec - then->tv_nsec) / 1000);
}

// kill(2): -1 is everybody in the PID namespace but PID 1, and nobody forks past it.
static void end_others(void) {
    kill(-1, SIGKILL);
    while (waitpid(-1, NULL, 0) > 0);
}

// How it ended is told before anything else is done: whatever comes of the artifacts, that stands.
static void finish(const struct launch *launch, int status) {
    int ends[2];
    bool collects = launch->artifacts.count > 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0;
    if (collects) {
        report_with(REPORT_ARTIFACTS, ends[0]);
        close(ends[0]);
    }
    report(REPORT_EXITED, (uint32_t)status);
    if (!collects) return;
    end_others();
    send_artifacts(&launch->artifacts, ends[1]);
}

int run_launch(const struct launch *launch) {
    static struct account account;
    if (!find_account(launch->user, &account)) give_up(REPORT_NO_USER, 0, launch->user);
    if (!launch->keep_home) setenv("HOME", account.home, 1);
    if (launch->files) receive_files(&account);
    enter_workdir(launch->workdir);
    if (launch->terminal) open_terminal(launch);

    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    int signals = signalfd(-1, &all, SFD_CLOEXEC);
    if (signals < 0) give_up(REPORT_NO_SETUP, errno, "signalfd");

    pid_t program = start_program(launch, &account);
    report(REPORT_STARTED, microseconds_since(&launch->begun));
    // Only the program is to hold its streams open.
    for (int fd = 0; fd <= 2; fd++) close(fd);

    int status = watch_over(program, signals);
    finish(launch, status);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
