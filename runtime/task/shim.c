// mayfly-shim: owns one container of an OCI runtime, from its mounts to its removal.
//
// One idea: whatever the worker does, or fails to do, the container ends. The shim is the container's parent; it holds
// the container's mounts in a mount namespace of its own, so that they go when it goes; it kills the container when its
// deadline passes or when the worker's end of the control socket closes. It decides nothing else.
//
//   mayfly-shim RUNTIME ROOT ID BUNDLE INIT MOUNTPOINT SIZE OWNER DEADLINE ARTIFACTS LAYER...
//
//   RUNTIME     path of the OCI runtime (runc, crun …)     ROOT    where the runtime keeps its state
//   BUNDLE      directory with config.json                 SIZE    bytes of the writable layer
//   INIT        path of mayfly-init
//   MOUNTPOINT  an empty directory of the host; in this namespace only, `root` and `init` appear there
//   OWNER       host uid and gid of the container's root   DEADLINE  ms from now
//   ARTIFACTS   "artifacts" if the container's are wanted, which go to ARTIFACTS_FD, or "none"
//   LAYER...    unpacked layers, the topmost first
//
// See protocol.h for what it says and hears.

#include "protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_LAYERS = 500,       // overlayfs' own limit
    OPTIONS_BYTES = 4096,   // mount(2) takes one page of options
    SPLICE_BYTES = 1 << 20,
    COPY_BYTES = 16 * 1024, // of what a terminal says at a time; it has no more
    REMOVE_MS = 10000,      // a delete takes 10 ms; what hangs this long is left to the worker's next start
    LINE_BYTES = 128,       // the longest line the worker sends is far shorter
    EXIT_USAGE = 64,
};

// ---- What is known of the container -----------------------------------------------------------------------------------

enum stage { CREATING, CREATED, RUNNING, ENDED, REMOVING, GONE };

static struct {
    const char *runtime, *root, *id, *bundle;
    enum stage stage;
    pid_t command;    // the OCI runtime at work, or 0
    pid_t init;       // PID 1 of the container as the host sees it, or 0 once reaped
    bool told_end;    // `exited` or `failed` has been said
    bool doomed;      // it has been killed: whatever is still on its way to starting must not start
    bool unwanted;    // the worker has released it, or is gone: remove it once it has ended
    bool has_started; // the init has reported that the program was executed
    bool has_report;  // the init has reported the program's end
    int report_status;
    int init_status;
    int64_t deadline_ms;
    int64_t remove_by_ms; // when the runtime's delete has taken too long
} box;

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t); // Goes on while the machine sleeps: so does the lease.
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// ---- Telling the worker -----------------------------------------------------------------------------------------------

static void tell(const char *format, ...) {
    char line[512];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    if (length > (int)sizeof line - 2) length = sizeof line - 2;
    line[length++] = '\n';
    // A line is shorter than the socket's buffer and the worker is told few, so this does not block. If the worker is
    // gone, poll() says so next.
    ssize_t sent = send(CONTROL_FD, line, (size_t)length, MSG_NOSIGNAL);
    (void)sent;
}

static void tell_failed(const char *stage, const char *text) {
    if (box.told_end) return;
    box.told_end = true;
    tell("failed %s %s", stage, text);
}

static _Noreturn void fail_setup(const char *what) {
    char text[256];
    snprintf(text, sizeof text, "%s: %s", what, strerror(errno));
    tell_failed("mount", text);
    tell("released");
    exit(EXIT_FAILURE);
}

// ---- The root file system ---------------------------------------------------------------------------------------------

// A tmpfs of the run's own holds the writable layer: its size is the limit, and it needs no clean-up.
static void mount_root(const char *init, const char *mountpoint, const char *size, uid_t owner, char *layers[]) {
    if (unshare(CLONE_NEWNS)) fail_setup("unshare");
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) fail_setup("make mounts private");

    char options[OPTIONS_BYTES];
    int length = snprintf(options, sizeof options, "upperdir=upper,workdir=work,lowerdir=");
    // Layers by descriptor: a short name each, found before the mountpoint hides anything.
    for (int i = 0; layers[i]; i++) {
        int fd = open(layers[i], O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0) fail_setup(layers[i]);
        length += snprintf(options + length, sizeof options - (size_t)length, "%s/proc/self/fd/%d", i ? ":" : "", fd);
        if (i >= MAX_LAYERS || length >= (int)sizeof options) errno = E2BIG, fail_setup("layers");
    }
    char tmpfs_options[64];
    snprintf(tmpfs_options, sizeof tmpfs_options, "mode=0711,size=%s", size);
    if (mount("mayfly", mountpoint, "tmpfs", MS_NODEV, tmpfs_options)) fail_setup("mount tmpfs");
    if (chdir(mountpoint)) fail_setup(mountpoint);
    if (mkdir("upper", 0755) || mkdir("work", 0700) || mkdir("root", 0755)) fail_setup("mkdir");
    if (chown("upper", owner, owner)) fail_setup("chown");
    if (mount("mayfly", "root", "overlay", MS_NODEV, options)) fail_setup("mount overlay");
    // The container's root may not be able to walk the path to our own copy of the init.
    int file = open("init", O_CREAT | O_WRONLY | O_CLOEXEC, 0555);
    if (file < 0 || mount(init, "init", NULL, MS_BIND, NULL)) fail_setup(init);
    close(file);
    if (chdir("/")) fail_setup("/");
}

// ---- Bytes: relays between the worker's sockets and the program's pipes, and from PID 1's socket of artifacts ----------

// splice(2) moves pages without copying them here, and a full end stops the other: that is all the backpressure there is. It
// needs a pipe at one end, so what goes to and from a terminal is copied, and so are artifacts.
struct relay {
    int from, to;
    bool wait_to; // what the next step waits for: room in `to`, else bytes in `from`
    bool copies, receives; // It receives from a socket, of which PID 1 holds the flags: each call says that it does not wait.
    size_t used, sent; // of the buffer of one that copies
    char buffer[COPY_BYTES];
};

enum { ARTIFACTS = 3, RELAYS };

static struct relay relays[RELAYS];

static void close_relay(struct relay *relay) {
    if (relay->from >= 0) close(relay->from);
    if (relay->to >= 0) close(relay->to);
    relay->from = relay->to = -1;
}

// One read or one write. Like splice(2): what was moved, 0 at the end, -1 and EAGAIN when the other side has to be waited for.
static ssize_t copy_step(struct relay *relay) {
    if (relay->sent == relay->used) {
        ssize_t got = relay->receives ? recv(relay->from, relay->buffer, sizeof relay->buffer, MSG_DONTWAIT)
                                      : read(relay->from, relay->buffer, sizeof relay->buffer);
        if (got <= 0) return got;
        relay->used = (size_t)got, relay->sent = 0;
    }
    ssize_t put = write(relay->to, relay->buffer + relay->sent, relay->used - relay->sent);
    if (put > 0) relay->sent += (size_t)put;
    return put;
}

static void step_copying_relay(struct relay *relay) {
    ssize_t moved = copy_step(relay);
    if (moved == 0 || (moved < 0 && errno != EAGAIN && errno != EINTR)) return close_relay(relay);
    relay->wait_to = relay->sent < relay->used;
}

static void step_relay(struct relay *relay) {
    if (relay->copies) return step_copying_relay(relay);
    ssize_t moved = splice(relay->from, NULL, relay->to, NULL, SPLICE_BYTES, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (moved > 0) {
        relay->wait_to = false;
    } else if (moved < 0 && errno == EAGAIN) {
        int waiting = 0;
        relay->wait_to = ioctl(relay->from, FIONREAD, &waiting) == 0 && waiting > 0;
    } else if (moved == 0 || errno != EINTR) {
        close_relay(relay); // End of file, or nobody reads any more.
    }
}

static void set_nonblocking(int fd) {
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

// Makes the program's end of stream FD a real pipe, which it can reopen as /dev/stdout: a socket cannot be.
static int make_stream(int fd, uid_t owner) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) fail_setup("pipe");
    int ours = fd == STDIN_FILENO ? ends[1] : ends[0], theirs = fd == STDIN_FILENO ? ends[0] : ends[1];
    int socket = fcntl(fd, F_DUPFD_CLOEXEC, 10);
    if (socket < 0 || fchown(theirs, owner, owner)) fail_setup("streams");
    set_nonblocking(ours);
    set_nonblocking(socket);
    relays[fd] = fd == STDIN_FILENO ? (struct relay){.from = socket, .to = ours} : (struct relay){.from = ours, .to = socket};
    return theirs;
}

static int terminal = -1; // the master of the program's pseudo-terminal, if it has one

// In place of the program's stdin and stdout pipes. A terminal that nobody holds any more answers EIO, which closes the relay.
static void use_terminal(int master) {
    int writer = fcntl(master, F_DUPFD_CLOEXEC, 10), reader = fcntl(master, F_DUPFD_CLOEXEC, 10);
    terminal = master;
    set_nonblocking(master);
    close(relays[STDIN_FILENO].to);
    close(relays[STDOUT_FILENO].from);
    relays[STDIN_FILENO].to = writer, relays[STDIN_FILENO].copies = true;
    relays[STDOUT_FILENO].from = reader, relays[STDOUT_FILENO].copies = true;
}

static void resize_terminal(unsigned short rows, unsigned short columns) {
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    if (terminal >= 0) ioctl(terminal, TIOCSWINSZ, &size);
}

static void await_artifacts(bool wanted) {
    relays[ARTIFACTS] = (struct relay){.from = -1, .to = wanted ? ARTIFACTS_FD : -1, .copies = true, .receives = true};
    if (!wanted) return;
    fcntl(ARTIFACTS_FD, F_SETFD, FD_CLOEXEC);
    set_nonblocking(ARTIFACTS_FD);
}

// A socket can be read without waiting, whatever PID 1 does to it; one of this kind ends with whoever is at its other end.
static bool is_local_stream(int descriptor) {
    int domain, type;
    return getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &(socklen_t){sizeof domain}) == 0 && domain == AF_UNIX &&
           getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &(socklen_t){sizeof type}) == 0 && type == SOCK_STREAM;
}

static void use_artifacts(int *socket) {
    if (!is_local_stream(*socket)) return;
    relays[ARTIFACTS].from = *socket;
    *socket = -1;
}

// ---- The OCI runtime --------------------------------------------------------------------------------------------------

static int container_stdio[3], report_read, report_write;

// Runs `RUNTIME --root ROOT --log BUNDLE/runtime.log COMMAND… ID`. Only `create` is handed the container's streams.
static pid_t start_runtime(bool creates, const char *const command[]) {
    char log[512];
    snprintf(log, sizeof log, "%s/runtime.log", box.bundle);
    const char *argv[20] = {box.runtime, "--root", box.root, "--log", log};
    size_t count = 5;
    while (*command) argv[count++] = *command++;
    argv[count] = box.id;

    pid_t pid = fork();
    if (pid) return pid; // Also -1: see run_command().
    prctl(PR_SET_PDEATHSIG, SIGKILL); // Without its shim a command has nobody to work for.
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd <= 2; fd++) dup2(creates ? container_stdio[fd] : null, fd);
    if (creates) dup2(report_write, REPORT_FD);
    else close(CONTROL_FD);
    execv(box.runtime, (char *const *)argv);
    _exit(EXIT_USAGE);
}

static void on_command_ended(int status);

// A command that cannot even be started (the host has no process left) has failed like any other. Its pid, -1, must never get
// as far as kill(2), where it means everybody.
static void run_command(enum stage stage, bool creates, const char *const command[]) {
    box.stage = stage;
    box.command = start_runtime(creates, command);
    if (box.command < 0) on_command_ended(W_EXITCODE(EXIT_USAGE, 0));
}

static void create(void) {
    static char pid_file[512];
    snprintf(pid_file, sizeof pid_file, "%s/pid", box.bundle);
    const char *command[] = {"create", "--bundle", box.bundle, "--pid-file", pid_file, "--preserve-fds", "1", NULL};
    run_command(CREATING, true, command);
    for (int fd = 0; fd <= 2; fd++) close(container_stdio[fd]);
    close(report_write);
}

static void start(void) {
    run_command(CREATED, false, (const char *[]){"start", NULL});
}

static void remove_container(void) {
    box.remove_by_ms = now_ms() + REMOVE_MS;
    run_command(REMOVING, false, (const char *[]){"delete", "--force", NULL});
}

static pid_t read_pid_file(void) {
    char path[512], text[32] = "";
    snprintf(path, sizeof path, "%s/pid", box.bundle);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof text - 1) <= 0) return 0;
    close(fd);
    return (pid_t)strtol(text, NULL, 10);
}

// SIGKILL to PID 1 ends everything in its PID namespace, at once. While the runtime is still creating there is none that is
// known; should the runtime have finished already, on_command_ended() makes good for it.
static void kill_container(void) {
    box.doomed = true;
    if (box.init) kill(box.init, SIGKILL);
    if (box.command && box.stage <= CREATED) kill(box.command, SIGKILL);
}

static void tell_exit(void) {
    if (box.told_end) return;
    box.told_end = true;
    int status = box.has_report ? box.report_status : box.init_status;
    if (WIFEXITED(status)) tell("exited code %d", WEXITSTATUS(status));
    else tell("exited signal %d", WTERMSIG(status));
}

// Still our child, alive or not yet reaped: only then is the pid its own.
static bool is_our_child(pid_t pid) {
    siginfo_t info;
    return pid > 0 && waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static void on_created(bool worked) {
    box.init = worked ? read_pid_file() : 0;
    if (!is_our_child(box.init)) {
        box.init = 0;
        box.stage = ENDED;
        tell_failed("create", "the OCI runtime could not create the container");
    } else if (box.doomed) {
        box.stage = RUNNING;
        tell_failed("create", "it was killed before it started");
        kill_container();
    } else {
        tell("created");
        start();
    }
}

static void on_command_ended(int status) {
    bool worked = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    box.command = 0;
    if (box.stage == CREATING) {
        on_created(worked);
    } else if (box.stage == CREATED && !worked && !(box.doomed && box.has_started)) {
        tell_failed("start", "the OCI runtime could not start the container");
        kill_container();
        box.stage = box.init ? RUNNING : ENDED;
    } else if (box.stage == CREATED) {
        // Also of a command that we have killed with its container: the program was there, and its end is its own.
        box.stage = box.init ? RUNNING : ENDED;
        if (!box.init) tell_exit();
    } else if (box.stage == REMOVING) {
        box.stage = GONE;
    }
}

static void read_reports(void);

static void on_init_ended(int status) {
    box.init = 0;
    box.init_status = status;
    read_reports(); // What it said before it died.
    if (relays[ARTIFACTS].from < 0) close_relay(&relays[ARTIFACTS]); // There are none.
    if (box.stage != RUNNING) return; // `start` has not returned yet; then it tells.
    box.stage = ENDED;
    tell_exit();
}

static void reap(void) {
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        if (pid == box.command) on_command_ended(status);
        else if (pid == box.init) on_init_ended(status);
    }
}

// ---- What is heard ----------------------------------------------------------------------------------------------------

static ssize_t receive_report(struct report *message, int *descriptor) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec bytes = {.iov_base = message, .iov_len = sizeof *message};
    struct msghdr letter = {.msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(report_read, &letter, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *header = got > 0 ? CMSG_FIRSTHDR(&letter) : NULL;
    *descriptor = -1;
    if (header && header->cmsg_len == CMSG_LEN(sizeof(int))) memcpy(descriptor, CMSG_DATA(header), sizeof(int));
    return got;
}

static void on_report(const struct report *message, int *descriptor) {
    int error = (int)(message->value & 0xff);
    char text[128];
    switch (message->kind) {
    case REPORT_TERMINAL:
        if (*descriptor >= 0 && terminal < 0) use_terminal(*descriptor), *descriptor = -1;
        break;
    case REPORT_ARTIFACTS:
        if (relays[ARTIFACTS].to >= 0) use_artifacts(descriptor);
        break;
    case REPORT_STARTED:
        box.has_started = true;
        tell("started");
        break;
    case REPORT_EXITED:
        box.has_report = true;
        box.report_status = (int)(message->value & 0xff7f); // No core flag: exit status and signal alone.
        if (relays[ARTIFACTS].to >= 0) tell("collecting"); // How it ended stands by now.
        break;
    case REPORT_NO_EXEC: break; // The init's own exit code is 127 or 126, as a shell's.
    case REPORT_NO_USER: tell_failed("user", "the image has no such user or group"); break;
    case REPORT_NO_WORKDIR: tell_failed("workdir", strerror(error)); break;
    case REPORT_NO_FILES:
        snprintf(text, sizeof text, "%u %s", message->value >> 8, strerror(error));
        tell_failed("files", text);
        break;
    default: tell_failed("init", strerror(error));
    }
}

static void read_reports(void) {
    static uint32_t last;
    struct report message;
    for (int descriptor; report_read >= 0 && receive_report(&message, &descriptor) == sizeof message;) {
        bool is_expected = message.kind > last && message.kind <= REPORT_LAST; // Each once, in order.
        if (is_expected) {
            last = message.kind;
            on_report(&message, &descriptor);
        }
        if (descriptor >= 0) close(descriptor);
    }
}

static void obey(const char *line) {
    long value = 0;
    unsigned short rows, columns;
    if (sscanf(line, "resize %hu %hu", &rows, &columns) == 2) resize_terminal(rows, columns);
    else if (sscanf(line, "deadline %ld", &value) == 1) box.deadline_ms = now_ms() + value;
    else if (sscanf(line, "signal %ld", &value) == 1 && value > 0 && value < NSIG && box.init) kill(box.init, (int)value);
    else if (strcmp(line, "kill") == 0) kill_container();
    else if (strcmp(line, "release") == 0) box.unwanted = true;
}

// Returns false when the worker has closed its end.
static bool hear(void) {
    static char buffer[LINE_BYTES];
    static size_t used;
    ssize_t got = recv(CONTROL_FD, buffer + used, sizeof buffer - used, MSG_DONTWAIT);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) return false;
    used += (size_t)got;
    for (char *end; (end = memchr(buffer, '\n', used));) {
        *end = '\0';
        obey(buffer);
        used -= (size_t)(end + 1 - buffer);
        memmove(buffer, end + 1, used);
    }
    return used < sizeof buffer; // A line that long is not ours.
}

// ---- The loop ---------------------------------------------------------------------------------------------------------

static int poll_timeout(bool abandoned) {
    if (abandoned && box.stage != REMOVING) return -1;
    int64_t left = (box.stage == REMOVING ? box.remove_by_ms : box.deadline_ms) - now_ms();
    return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

static void run_loop(int signals) {
    bool abandoned = false; // The worker is gone or late; it is not listened to any more.
    while (box.stage != GONE) {
        struct pollfd fds[3 + RELAYS] = {
            {.fd = signals, .events = POLLIN},
            {.fd = abandoned ? -1 : CONTROL_FD, .events = POLLIN},
            {.fd = report_read, .events = POLLIN},
        };
        for (int i = 0; i < RELAYS; i++) {
            fds[3 + i].fd = relays[i].wait_to ? relays[i].to : relays[i].from;
            fds[3 + i].events = relays[i].wait_to ? POLLOUT : POLLIN;
        }
        if (poll(fds, 3 + RELAYS, poll_timeout(abandoned)) < 0 && errno != EINTR) fail_setup("poll");

        if (fds[2].revents) {
            read_reports();
            if (fds[2].revents & (POLLHUP | POLLERR)) close(report_read), report_read = -1;
        }
        for (int i = 0; i < RELAYS; i++) {
            if (fds[3 + i].revents) step_relay(&relays[i]);
        }
        if (fds[0].revents) {
            struct signalfd_siginfo ignored;
            ssize_t got = read(signals, &ignored, sizeof ignored);
            (void)got; // It only tells that something ended; reap() asks what.
            reap();
        }
        bool is_late = now_ms() >= box.deadline_ms;
        if (!abandoned && ((fds[1].revents && !hear()) || is_late)) {
            abandoned = box.unwanted = true;
            // That we killed it is no end of the program's own.
            if (is_late) tell_failed("deadline", "its deadline passed without being extended");
            kill_container();
        }
        if (box.unwanted && box.stage == ENDED) remove_container();
        if (box.stage == REMOVING && now_ms() >= box.remove_by_ms && box.command) kill(box.command, SIGKILL);
    }
}

// A runtime that was killed half-way leaves its own children to us, their subreaper. None of them is to outlive the shim, and
// none is to be left unreaped. What cannot be killed at once (it waits for a disk) holds the shim until the worker's patience ends.
static void end_stragglers(void) {
    do {
        char list[4096] = "";
        int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && read(fd, list, sizeof list - 1) > 0) {
            for (char *rest = list, *end; *rest; rest = end) {
                pid_t pid = (pid_t)strtol(rest, &end, 10);
                if (end == rest) break;
                if (pid > 1) kill(pid, SIGKILL);
            }
        }
        if (fd >= 0) close(fd);
    } while (waitpid(-1, NULL, 0) > 0 || errno == EINTR);
}

static int watch_children(void) {
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigprocmask(SIG_BLOCK, &children, NULL);
    return signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
}

int main(int argc, char *argv[]) {
    if (argc < 12) return EXIT_USAGE;
    box.runtime = argv[1], box.root = argv[2], box.id = argv[3], box.bundle = argv[4];
    uid_t owner = (uid_t)strtoul(argv[8], NULL, 10);
    box.deadline_ms = now_ms() + strtol(argv[9], NULL, 10);

    setsid(); // A Ctrl-C at the worker's terminal is the worker's affair.
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC);
    int signals = watch_children();

    int report[2];
    if (signals < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, report)) fail_setup("socketpair");
    report_read = report[0], report_write = report[1];
    set_nonblocking(report_read);
    for (int fd = 0; fd <= 2; fd++) container_stdio[fd] = make_stream(fd, owner);
    await_artifacts(strcmp(argv[10], "artifacts") == 0);
    mount_root(argv[5], argv[6], argv[7], owner, argv + 11);
    // The sockets live on as the relays' copies; a relay that is closed must be seen to be closed by the worker.
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd <= 2; fd++) dup2(null, fd);

    create();
    run_loop(signals);
    end_stragglers();
    tell("released");
    // Output that the worker has not read yet stays in its sockets.
    return EXIT_SUCCESS;
}
