// mayfly-init: PID 1 of a container.
//
// It runs inside the container as the container's root, with everything the runtime has already taken away (namespaces,
// capabilities, seccomp). What is left to do needs the image's own files, and is safest done here, where a symlink in
// the image can lead nowhere else: look up the user, make the working directory, find the program on PATH. Then it
// starts the program, reaps orphans, and passes signals on. When the program ends it ends, and the kernel ends the rest.
//
//   mayfly-init USER WORKDIR HOME PROGRAM [ARG...]
//
//   USER  as a Dockerfile's; "" is root      HOME  "user" to set it from the image's passwd, "kept" to leave it
//
// Why not let the program be PID 1: the kernel ignores signals to PID 1 that it does not handle, so SIGTERM would not
// end a plain `sleep`, and a program that crashes by abort() would seem to exit well.

#include "protocol.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    MAX_GROUPS = 256,
    MAX_ID = 65535, // The user namespace has no more; an image may speak of others all the same.
    LINE_BYTES = 8192, // A line of passwd or group; a longer one is skipped.
    EXIT_NOT_FOUND = 127,
    EXIT_NOT_EXECUTABLE = 126,
};

struct account {
    uid_t uid;
    gid_t gid;
    gid_t groups[MAX_GROUPS];
    size_t group_count;
    char name[256];
    char home[PATH_MAX];
};

// If nobody is left to tell, the shim has died, and with it whoever would keep the deadline: then the container ends, too.
static void report(enum report_kind kind, uint32_t value) {
    struct report message = {.kind = kind, .value = value};
    if (write(REPORT_FD, &message, sizeof message) != sizeof message) _exit(EXIT_NOT_EXECUTABLE);
}

static _Noreturn void give_up(enum report_kind kind, int value, const char *what) {
    if (kind == REPORT_NO_USER) dprintf(STDERR_FILENO, "mayfly: no such user or group in the image: %s\n", what);
    else dprintf(STDERR_FILENO, "mayfly: \"%s\": %s\n", what, strerror(value));
    report(kind, (uint32_t)value);
    _exit(kind == REPORT_NO_EXEC && value == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}

// A whole decimal number that is an id of the container's.
static bool parse_id(const char *text, uint32_t *id) {
    if (!isdigit((unsigned char)text[0])) return false;
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno || *end || value > MAX_ID) return false;
    *id = (uint32_t)value;
    return true;
}

// Splits LINE at colons, in place. Returns how many fields there are, at most MAX.
static size_t split_fields(char *line, char *fields[], size_t max) {
    size_t count = 0;
    line[strcspn(line, "\n")] = '\0';
    for (char *rest = line; rest && count < max;) fields[count++] = strsep(&rest, ":");
    return count;
}

// Calls EACH with the fields of every line of FILE until it answers true. A file that is missing has no lines.
typedef bool (*each_fn)(char *fields[], size_t count, void *context);

static bool find_line(const char *file, each_fn each, void *context) {
    FILE *stream = fopen(file, "re");
    if (!stream) return false;
    static char line[LINE_BYTES];
    bool found = false;
    while (!found && fgets(line, sizeof line, stream)) {
        char *fields[8];
        if (line[0] == '#' || !strchr(line, '\n')) continue;
        size_t count = split_fields(line, fields, 8);
        found = each(fields, count, context);
    }
    fclose(stream);
    return found;
}

struct user_query {
    const char *name; // or NULL, to look for uid
    uint32_t uid;
    struct account *account;
};

// passwd: name:password:uid:gid:gecos:home:shell
static bool take_user(char *fields[], size_t count, void *context) {
    struct user_query *query = context;
    uint32_t uid, gid;
    if (count < 6 || !parse_id(fields[2], &uid) || !parse_id(fields[3], &gid)) return false;
    if (query->name ? strcmp(fields[0], query->name) != 0 : uid != query->uid) return false;
    query->account->uid = uid;
    query->account->gid = gid;
    snprintf(query->account->name, sizeof query->account->name, "%s", fields[0]);
    snprintf(query->account->home, sizeof query->account->home, "%s", fields[5]);
    return true;
}

struct group_query {
    const char *name;
    uint32_t gid;
};

// group: name:password:gid:member,member
static bool take_group(char *fields[], size_t count, void *context) {
    struct group_query *query = context;
    return count >= 3 && strcmp(fields[0], query->name) == 0 && parse_id(fields[2], &query->gid);
}

static bool take_membership(char *fields[], size_t count, void *context) {
    struct account *account = context;
    uint32_t gid;
    if (count < 4 || !parse_id(fields[2], &gid)) return false;
    for (char *rest = fields[3], *member; (member = strsep(&rest, ","));) {
        if (strcmp(member, account->name) == 0 && account->group_count < MAX_GROUPS) {
            account->groups[account->group_count++] = gid;
            break;
        }
    }
    return false;
}

// USER is name, uid, name:group, uid:gid or a mixture, as a Dockerfile's USER has it. A uid without an entry is allowed.
static void find_account(const char *user, struct account *account) {
    char copy[512];
    snprintf(copy, sizeof copy, "%s", user);
    char *group = copy, *name = strsep(&group, ":");
    snprintf(account->home, sizeof account->home, "/");

    struct user_query query = {.name = name, .account = account};
    if (*name == '\0') query = (struct user_query){.uid = 0, .account = account};
    else if (parse_id(name, &query.uid)) query.name = NULL;
    if (!find_line("/etc/passwd", take_user, &query)) {
        if (query.name) give_up(REPORT_NO_USER, 0, user);
        account->uid = query.uid;
    }

    if (group && *group) {
        struct group_query wanted = {.name = group};
        if (!parse_id(group, &wanted.gid) && !find_line("/etc/group", take_group, &wanted)) {
            give_up(REPORT_NO_USER, 0, user);
        }
        account->gid = wanted.gid;
    } else if (account->name[0]) {
        find_line("/etc/group", take_membership, account);
    }
    if (account->group_count == 0) account->groups[account->group_count++] = account->gid;
}

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

static void enter_workdir(const char *workdir) {
    if (chdir(workdir) == 0) return;
    int error = errno == ENOENT ? make_directories(workdir) : errno;
    if (error == 0 && chdir(workdir)) error = errno;
    if (error) give_up(REPORT_NO_WORKDIR, error, workdir);
}

// The pipes belong to root; a program of another user must be able to reopen them as /dev/stdout.
static void become(const struct account *account) {
    for (int fd = 0; fd <= 2; fd++) {
        if (fchown(fd, account->uid, account->gid) && errno != EINVAL && errno != EPERM) {
            give_up(REPORT_NO_SETUP, errno, "chown of stdio");
        }
    }
    if (setgroups(account->group_count, account->groups)) give_up(REPORT_NO_SETUP, errno, "setgroups");
    if (setresgid(account->gid, account->gid, account->gid)) give_up(REPORT_NO_SETUP, errno, "setresgid");
    if (setresuid(account->uid, account->uid, account->uid)) give_up(REPORT_NO_SETUP, errno, "setresuid");
}

static _Noreturn void run_program(const struct account *account, char *argv[], int status_fd) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    become(account);
    execvp(argv[0], argv);
    int error = errno;
    ssize_t written = write(status_fd, &error, sizeof error);
    (void)written;
    _exit(EXIT_NOT_FOUND);
}

// 0 once the program has been executed, else the errno: the pipe is closed by a successful exec.
static int exec_error(int status_fd) {
    int error;
    ssize_t got;
    while ((got = read(status_fd, &error, sizeof error)) < 0 && errno == EINTR) {}
    return got == sizeof error ? error : 0;
}

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

static int watch_over(pid_t program, const sigset_t *all) {
    int status;
    for (;;) {
        int signal = sigwaitinfo(all, NULL);
        if (signal < 0) continue;
        if (signal == SIGCHLD ? reap(program, &status) : (kill(program, signal), false)) return status;
    }
}

int main(int argc, char *argv[]) {
    // Nobody in the container, not even its root, may trace PID 1 or reach its descriptors through /proc.
    prctl(PR_SET_DUMPABLE, 0);
    // The shim is the parent. If it is killed, nobody is left to keep the deadline, so the container ends with it.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (argc < 5 || fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC)) return EXIT_NOT_EXECUTABLE;

    static struct account account;
    find_account(argv[1], &account);
    // The OCI runtime sets HOME to its own user's, which is always root, so its presence says nothing.
    if (strcmp(argv[3], "user") == 0) setenv("HOME", account.home, 1);
    enter_workdir(argv[2]);

    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    int status_pipe[2];
    if (pipe2(status_pipe, O_CLOEXEC)) give_up(REPORT_NO_SETUP, errno, "pipe");
    pid_t program = fork();
    if (program < 0) give_up(REPORT_NO_SETUP, errno, "fork");
    if (program == 0) run_program(&account, argv + 4, status_pipe[1]);
    close(status_pipe[1]);

    int error = exec_error(status_pipe[0]);
    if (error) give_up(REPORT_NO_EXEC, error, argv[4]);
    report(REPORT_STARTED, 0);
    // Only the program is to hold its streams open.
    for (int fd = 0; fd <= 2; fd++) close(fd);

    int status = watch_over(program, &all);
    report(REPORT_EXITED, (uint32_t)status);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
