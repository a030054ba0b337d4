// mayfly-launcher: owns every container process of a host. See protocol.h for what it is asked and answers.
//
//   mayfly-launcher --socket PATH --layers DIR --run-dir DIR --cgroup NAME --policy FILE --blank PROGRAM
//                   [--blanks MIN:MAX] [--lifeline] [--mountinfo FILE]
//
//   --socket    where workers connect; whoever is not root is turned away
//   --layers    the images' unpacked layers; nothing else of the host is ever mounted
//   --run-dir   an empty directory, in which the launcher's own root is mounted, in its own mount namespace
//   --cgroup    name, below every hierarchy's root, of what holds all sandboxes
//   --policy    see policy.h
//   --blanks    how many sandboxes are kept ready, at least and at most
//   --lifeline  stdin is a pipe of whoever has started it: when that is closed, the launcher ends
//
// Start: policy → lock → cgroups, and what an earlier life left in them → own root → makers → listen. It says
// "launcher.ready" on stdout then. SIGTERM, SIGINT or the end of the lifeline: every sandbox is ended and removed, within a bound.

#include "blanks.h"
#include "clock.h"
#include "connection.h"
#include "host.h"
#include "log.h"
#include "makers.h"
#include "plan.h"
#include "root.h"
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

enum { TICK_MS = 1000, STOP_MS = 5000, LOCK_MS = 15000, SWEEP_MS = 5000, BACKLOG = 1024, MAX_BLANKS = 1024, EXIT_USAGE = 64 };

static struct {
    const char *socket, *layers, *run_dir, *cgroup, *policy, *blank, *mountinfo;
    unsigned min_blanks, max_blanks;
    bool lifeline;
} options = {.mountinfo = "/proc/self/mountinfo", .min_blanks = 4, .max_blanks = 64};

static struct policy policy;
static struct cgroups cgroups;
static struct maker_context context;
static struct source signals, lifeline;
static unsigned leftovers;
static int64_t stop_by_ms; // 0 while it is to go on.

static _Noreturn void fail(const char *what, const char *why) {
    log_event(LOG_ERROR, "launcher.failed", "\"message\":\"%s: %s\"", log_text(what), log_text(why));
    exit(EXIT_FAILURE);
}

// ---- Arguments --------------------------------------------------------------------------------------------------------

static void read_options(int argc, char *argv[]) {
    static const struct option known[] = {
        {"socket", required_argument, NULL, 's'},   {"layers", required_argument, NULL, 'l'},
        {"run-dir", required_argument, NULL, 'r'},  {"cgroup", required_argument, NULL, 'c'},
        {"policy", required_argument, NULL, 'p'},   {"blank", required_argument, NULL, 'b'},
        {"blanks", required_argument, NULL, 'n'},   {"lifeline", no_argument, NULL, 'L'},
        {"mountinfo", required_argument, NULL, 'm'}, {0},
    };
    for (int option, end = 0; (option = getopt_long(argc, argv, "", known, NULL)) >= 0;) {
        switch (option) {
        case 's': options.socket = optarg; break;
        case 'l': options.layers = optarg; break;
        case 'r': options.run_dir = optarg; break;
        case 'c': options.cgroup = optarg; break;
        case 'p': options.policy = optarg; break;
        case 'b': options.blank = optarg; break;
        case 'm': options.mountinfo = optarg; break;
        case 'L': options.lifeline = true; break;
        case 'n':
            if (sscanf(optarg, "%u:%u%n", &options.min_blanks, &options.max_blanks, &end) == 2 && optarg[end] == '\0' &&
                options.min_blanks <= options.max_blanks && options.max_blanks <= MAX_BLANKS)
                break;
            fail("--blanks", "is not MIN:MAX, 0 to 1024");
        default: exit(EXIT_USAGE);
        }
    }
    if (optind != argc) fail(argv[optind], "unknown argument");
    if (!options.socket || !options.layers || !options.run_dir || !options.cgroup || !options.policy || !options.blank)
        fail("usage", "--socket, --layers, --run-dir, --cgroup, --policy and --blank are needed");
}

// ---- What every blank is told -----------------------------------------------------------------------------------------

static void copy_paths(char to[][PLAN_PATH_BYTES], const char *const from[], uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (strlen(from[i]) >= PLAN_PATH_BYTES) fail(from[i], "too long");
        strcpy(to[i], from[i]);
    }
}

static void fill_plan(struct plan *plan) {
    plan->uid_base = policy.uid_base;
    plan->cgroup_version = (uint32_t)cgroups.version;
    plan->capabilities = policy.capabilities;
    plan->mask_count = policy.mask_count;
    plan->readonly_count = policy.readonly_count;
    copy_paths(plan->masks, policy.masks, policy.mask_count);
    copy_paths(plan->readonly, policy.readonly, policy.readonly_count);
    for (plan->rlimit_count = 0; plan->rlimit_count < policy.rlimit_count; plan->rlimit_count++) {
        unsigned i = plan->rlimit_count;
        plan->rlimits[i].resource = policy.rlimits[i].resource;
        plan->rlimits[i].soft = policy.rlimits[i].soft;
        plan->rlimits[i].hard = policy.rlimits[i].hard;
    }
    for (unsigned i = 0; i < cgroups.count && cgroups.version == 1; i++) {
        if (cgroups.hierarchies[i].per_sandbox) strcpy(plan->hierarchies[plan->hierarchy_count++], cgroups.hierarchies[i].name);
    }
}

static int make_plan(void) {
    struct stat filter;
    if (fstat(policy.filter_fd, &filter)) fail("plan", strerror(errno));
    size_t bytes = sizeof(struct plan) + (size_t)filter.st_size;
    int fd = memfd_create("plan", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)bytes)) fail("plan", strerror(errno));
    struct plan *plan = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (plan == MAP_FAILED) fail("plan", strerror(errno));
    fill_plan(plan);
    plan->filter_count = (uint32_t)((size_t)filter.st_size / sizeof(struct sock_filter));
    if (pread(policy.filter_fd, plan->filter, (size_t)filter.st_size, 0) != filter.st_size) fail("plan", strerror(errno));
    munmap(plan, bytes);
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) fail("plan", strerror(errno));
    return fd;
}

// ---- Start ------------------------------------------------------------------------------------------------------------

// One launcher a cgroup: another one would take this one's sandboxes for leftovers. One that is ending is waited for.
static void lock_cgroup(void) {
    int fd = cgroups.hierarchies[0].parent_fd;
    for (int64_t until = now_ms() + LOCK_MS; flock(fd, LOCK_EX | LOCK_NB);) {
        if (now_ms() > until) fail(options.cgroup, "another launcher has it");
        usleep(10000);
    }
}

static void sweep_one(const char *name, void *count) {
    (void)count;
    leftovers++;
    for (int64_t until = now_ms() + SWEEP_MS; cgroup_remove(&cgroups, name);) {
        cgroup_kill(&cgroups, name);
        if (now_ms() > until) fail(name, "an earlier life's cgroup cannot be removed");
        usleep(5000);
    }
}

static int listen_at(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) fail(path, "longer than a socket's name may be");
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    unlink(path); // Of an earlier life: the lock says that there is no other.
    mode_t mask = umask(0177);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, BACKLOG)) fail(path, strerror(errno));
    umask(mask);
    return fd;
}

static void raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) limit.rlim_cur = limit.rlim_max, setrlimit(RLIMIT_NOFILE, &limit);
}

static void stop(const char *why) {
    if (stop_by_ms) return;
    log_event(LOG_INFO, "launcher.stopping", "\"why\":\"%s\"", why);
    stop_by_ms = now_ms() + STOP_MS;
    connections_stop();
    blanks_stop();
    sandboxes_reset(NULL);
}

static void on_signal(struct source *source, uint32_t events) {
    struct signalfd_siginfo info;
    (void)events;
    if (read(source->fd, &info, sizeof info) == sizeof info) stop("signal");
}

static void on_lifeline(struct source *source, uint32_t events) {
    char bytes[64];
    (void)events;
    if (read(source->fd, bytes, sizeof bytes) > 0) return;
    loop_remove(source);
    stop("lifeline");
}

static void watch_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    loop_add(&signals, signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), EPOLLIN, on_signal);
    if (options.lifeline && !loop_add(&lifeline, STDIN_FILENO, EPOLLIN, on_lifeline)) fail("--lifeline", strerror(errno));
}

static int start(void) {
    policy_read(options.policy, &policy);
    const char *failed = cgroup_open(&cgroups, options.mountinfo, options.cgroup);
    if (failed) fail("cgroups", failed);
    lock_cgroup();
    if (cgroup_rule_devices(&cgroups, &policy)) fail("device rules", strerror(errno));
    cgroup_each(&cgroups, sweep_one, NULL);
    int socket = listen_at(options.socket);
    int blank = open(options.blank, O_PATH | O_CLOEXEC);
    if (blank < 0) fail(options.blank, strerror(errno));
    failed = root_enter(options.run_dir, options.layers);
    if (failed) fail(failed, strerror(errno));
    // After the namespaces are the launcher's own: this is where makers come back to.
    context = (struct maker_context){.cgroups = &cgroups, .policy = &policy, .plan_fd = make_plan(), .blank_fd = blank,
                                     .home_fd = (int)syscall(SYS_pidfd_open, getpid(), 0)};
    if (context.home_fd < 0) fail("pidfd", strerror(errno));
    return socket;
}

// ---- The rest of its life ---------------------------------------------------------------------------------------------

const struct cgroups *host_cgroups(void) {
    return &cgroups;
}

const char *host_layers(void) {
    return options.layers;
}

void host_tell_status(struct connection *connection) {
    static char payload[sizeof(struct status) + MAX_BLANKS * CGROUP_NAME_BYTES];
    struct blank_counts counts = blanks_count();
    struct status status = {.protocol_version = PROTOCOL_VERSION, .cgroup_version = (uint32_t)cgroups.version,
                            .blanks = counts.ready, .target = counts.target, .sandboxes = sandboxes_alive(), .leftovers = leftovers};
    memcpy(payload, &status, sizeof status);
    size_t names = blanks_names(payload + sizeof status, sizeof payload - sizeof status);
    connection_send(connection, FRAME_STATUS_IS, 0, payload, sizeof status + names);
}

static int64_t tick(int64_t now) {
    static int64_t next_ms;
    if (now >= next_ms) {
        next_ms = now + TICK_MS;
        makers_tick();
        if (!stop_by_ms) connections_tick(), blanks_tick();
    }
    int64_t deadline = sandboxes_check(now), refill = blanks_check(now), next = deadline < refill ? deadline : refill;
    return next < next_ms ? next : next_ms;
}

static bool is_over(void) {
    if (!stop_by_ms) return false;
    return (sandboxes_alive() == 0 && blanks_count().removing == 0) || now_ms() > stop_by_ms;
}

int main(int argc, char *argv[]) {
    read_options(argc, argv);
    prctl(PR_SET_NAME, "mayfly-launcher");
    setsid(); // A Ctrl-C at the worker's terminal is the worker's affair.
    umask(022);
    fcntl(STDOUT_FILENO, F_SETFL, fcntl(STDOUT_FILENO, F_GETFL) | O_NONBLOCK);
    raise_descriptor_limit();
    loop_start();
    int socket = start();
    makers_start(&context);
    watch_signals();
    blanks_start(options.min_blanks, options.max_blanks, &cgroups);
    connections_listen(socket);
    log_event(LOG_INFO, "launcher.ready", "\"cgroupVersion\":%d,\"leftovers\":%u,\"blanksMin\":%u,\"blanksMax\":%u",
              cgroups.version, leftovers, options.min_blanks, options.max_blanks);
    loop_run(tick, is_over);
    makers_stop();
    log_event(LOG_INFO, "launcher.stopped", NULL);
    return EXIT_SUCCESS;
}
