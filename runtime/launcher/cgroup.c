// Reads and writes cgroup files. All paths are relative to descriptors that were opened once, so that what is mounted over the
// launcher's view later does not matter.

#include "cgroup.h"
#include "device_rules.h"
#include "hierarchy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 512, FILE_BYTES = 4096 };

// ---- Files ------------------------------------------------------------------------------------------------------------

static int write_file(int at, const char *path, const char *text) {
    int fd = openat(at, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t written = write(fd, text, strlen(text));
    int error = errno;
    close(fd);
    errno = error;
    return written < 0 ? -1 : 0;
}

static int write_value(int at, const char *cgroup, const char *file, const char *format, ...) {
    char path[PATH_BYTES], value[64];
    va_list args;
    va_start(args, format);
    vsnprintf(value, sizeof value, format, args);
    va_end(args);
    snprintf(path, sizeof path, "%s/%s", cgroup, file);
    return write_file(at, path, value);
}

static int read_text(int at, const char *cgroup, const char *file, char text[FILE_BYTES]) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", cgroup, file);
    int fd = openat(at, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t got = read(fd, text, FILE_BYTES - 1);
    close(fd);
    if (got < 0) return -1;
    text[got] = '\0';
    return 0;
}

// The value of NAME among lines `name value`; 0 for a counter that this kernel does not have.
static uint64_t counter(const char *text, const char *name) {
    size_t length = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, name, length) == 0 && line[length] == ' ') return strtoull(line + length, NULL, 10);
    }
    return 0;
}

// ---- The parent -------------------------------------------------------------------------------------------------------

static int hierarchy_of(const struct cgroups *cgroups, enum controller controller) {
    return cgroups->hierarchies[cgroups->of[controller]].parent_fd;
}

static int rule_devices_v1(const struct cgroups *cgroups, const struct policy *policy) {
    int fd = hierarchy_of(cgroups, CONTROLLER_DEVICES);
    if (write_value(fd, ".", "devices.deny", "a")) return -1;
    for (unsigned i = 0; i < policy->device_count; i++) {
        int64_t minor = policy->devices[i].minor;
        int failed = minor < 0 ? write_value(fd, ".", "devices.allow", "c %u:* rw", policy->devices[i].major)
                               : write_value(fd, ".", "devices.allow", "c %u:%" PRId64 " rw", policy->devices[i].major, minor);
        if (failed) return -1;
    }
    return 0;
}

static int open_parent(struct hierarchy *hierarchy, const char *parent, int version) {
    int root = open(hierarchy->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) return -1;
    if (version == 2 && write_file(root, "cgroup.subtree_control", "+cpu +memory +pids")) return -1;
    if (mkdirat(root, parent, 0755) && errno != EEXIST) return -1;
    hierarchy->parent_fd = openat(root, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close(root);
    if (hierarchy->parent_fd < 0) return -1;
    return version == 2 ? write_file(hierarchy->parent_fd, "cgroup.subtree_control", "+cpu +memory +pids") : 0;
}

const char *cgroup_open(struct cgroups *cgroups, const char *mountinfo, const char *parent) {
    *cgroups = (struct cgroups){0};
    const char *missing = hierarchies_find(cgroups, mountinfo);
    if (missing) return missing;
    for (unsigned i = 0; i < cgroups->count; i++) {
        if (open_parent(&cgroups->hierarchies[i], parent, cgroups->version)) return "the parent cgroup cannot be made";
        cgroups->hierarchies[i].per_sandbox = cgroups->version == 2 || (int)i != cgroups->of[CONTROLLER_DEVICES];
    }
    return NULL;
}

int cgroup_rule_devices(const struct cgroups *cgroups, const struct policy *policy) {
    return cgroups->version == 2 ? rule_devices_v2(cgroups->hierarchies[0].parent_fd, policy) : rule_devices_v1(cgroups, policy);
}

// ---- One sandbox's ----------------------------------------------------------------------------------------------------

int cgroup_make(const struct cgroups *cgroups, const char *name) {
    for (unsigned i = 0; i < cgroups->count; i++) {
        const struct hierarchy *hierarchy = &cgroups->hierarchies[i];
        if (hierarchy->per_sandbox && mkdirat(hierarchy->parent_fd, name, 0755) && errno != EEXIST) return -1;
    }
    return 0;
}

int cgroup_join(const struct cgroups *cgroups, const char *name, pid_t pid) {
    for (unsigned i = 0; i < cgroups->count; i++) {
        const struct hierarchy *hierarchy = &cgroups->hierarchies[i];
        if (hierarchy->per_sandbox && write_value(hierarchy->parent_fd, name, "cgroup.procs", "%d", pid)) return -1;
    }
    return 0;
}

int cgroup_join_devices(const struct cgroups *cgroups) {
    if (cgroups->version == 2) return 0;
    return write_value(hierarchy_of(cgroups, CONTROLLER_DEVICES), ".", "cgroup.procs", "0");
}

int cgroup_descriptor(const struct cgroups *cgroups, const char *name) {
    if (cgroups->version != 2) return -1;
    return openat(cgroups->hierarchies[0].parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

// A kernel that does not count swap has no file for it, and a host without swap needs none. A host with swap like that has been
// refused by the worker, or allowed by its operator (runtime/host/weakness.ts).
static int limit_swap(int fd, const char *name, const char *file, uint64_t bytes) {
    int failed = write_value(fd, name, file, "%" PRIu64, bytes);
    return failed && errno != ENOENT ? -1 : 0;
}

static int limit_v1(const struct cgroups *cgroups, const char *name, const struct cgroup_limits *limits) {
    int memory = hierarchy_of(cgroups, CONTROLLER_MEMORY), cpu = hierarchy_of(cgroups, CONTROLLER_CPU);
    // Memory and swap together may be no more than memory alone: nothing is swapped out.
    return write_value(memory, name, "memory.limit_in_bytes", "%" PRIu64, limits->memory_bytes) ||
           limit_swap(memory, name, "memory.memsw.limit_in_bytes", limits->memory_bytes) ||
           write_value(cpu, name, "cpu.cfs_quota_us", "%u", limits->cpu_quota_us) ||
           write_value(hierarchy_of(cgroups, CONTROLLER_PIDS), name, "pids.max", "%u", limits->pids + INIT_PIDS);
}

static int limit_v2(int fd, const char *name, const struct cgroup_limits *limits) {
    return write_value(fd, name, "memory.max", "%" PRIu64, limits->memory_bytes) ||
           limit_swap(fd, name, "memory.swap.max", 0) ||
           write_value(fd, name, "cpu.max", "%u %u", limits->cpu_quota_us, CPU_PERIOD_US) ||
           write_value(fd, name, "pids.max", "%u", limits->pids + INIT_PIDS);
}

int cgroup_limit(const struct cgroups *cgroups, const char *name, const struct cgroup_limits *limits) {
    bool failed = cgroups->version == 2 ? limit_v2(cgroups->hierarchies[0].parent_fd, name, limits) : limit_v1(cgroups, name, limits);
    return failed ? -1 : 0;
}

static int read_v1(const struct cgroups *cgroups, const char *name, struct cgroup_facts *facts) {
    char text[FILE_BYTES];
    int memory = hierarchy_of(cgroups, CONTROLLER_MEMORY);
    if (read_text(memory, name, "memory.oom_control", text)) return -1;
    facts->oom_kills = counter(text, "oom_kill");
    if (read_text(memory, name, "memory.max_usage_in_bytes", text)) return -1;
    facts->peak_memory_bytes = strtoull(text, NULL, 10);
    if (read_text(hierarchy_of(cgroups, CONTROLLER_CPUACCT), name, "cpuacct.usage", text)) return -1;
    facts->cpu_us = strtoull(text, NULL, 10) / 1000;
    if (read_text(hierarchy_of(cgroups, CONTROLLER_CPU), name, "cpu.stat", text)) return -1;
    facts->throttled_us = counter(text, "throttled_time") / 1000;
    return 0;
}

static int read_v2(int fd, const char *name, struct cgroup_facts *facts) {
    char text[FILE_BYTES];
    if (read_text(fd, name, "memory.events", text)) return -1;
    facts->oom_kills = counter(text, "oom_kill");
    // Linux 5.19 and later.
    facts->peak_memory_bytes = read_text(fd, name, "memory.peak", text) ? UINT64_MAX : strtoull(text, NULL, 10);
    if (read_text(fd, name, "cpu.stat", text)) return -1;
    facts->cpu_us = counter(text, "usage_usec");
    facts->throttled_us = counter(text, "throttled_usec");
    return 0;
}

int cgroup_read(const struct cgroups *cgroups, const char *name, struct cgroup_facts *facts) {
    return cgroups->version == 2 ? read_v2(cgroups->hierarchies[0].parent_fd, name, facts) : read_v1(cgroups, name, facts);
}

// ---- The end ----------------------------------------------------------------------------------------------------------

static void kill_listed(int fd, const char *name) {
    char text[FILE_BYTES];
    if (read_text(fd, name, "cgroup.procs", text)) return;
    for (char *line = text, *end; *line; line = end) {
        pid_t pid = (pid_t)strtol(line, &end, 10);
        if (end == line) break;
        if (pid > 1) kill(pid, SIGKILL);
    }
}

void cgroup_kill(const struct cgroups *cgroups, const char *name) {
    for (unsigned i = 0; i < cgroups->count; i++) {
        const struct hierarchy *hierarchy = &cgroups->hierarchies[i];
        if (!hierarchy->per_sandbox) continue;
        if (write_value(hierarchy->parent_fd, name, "cgroup.kill", "1")) kill_listed(hierarchy->parent_fd, name);
    }
}

static int remove_tree(int at, const char *name) {
    if (unlinkat(at, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return 0;
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (!directory) return -1;
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.') remove_tree(fd, entry->d_name);
    }
    closedir(directory);
    return unlinkat(at, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : -1;
}

int cgroup_remove(const struct cgroups *cgroups, const char *name) {
    int result = 0;
    for (unsigned i = 0; i < cgroups->count; i++) {
        const struct hierarchy *hierarchy = &cgroups->hierarchies[i];
        if (hierarchy->per_sandbox && remove_tree(hierarchy->parent_fd, name)) result = -1;
    }
    return result;
}

void cgroup_each(const struct cgroups *cgroups, void (*each)(const char *name, void *context), void *context) {
    for (unsigned i = 0; i < cgroups->count; i++) {
        int fd = openat(cgroups->hierarchies[i].parent_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *directory = fd < 0 ? NULL : fdopendir(fd);
        if (!directory) continue;
        for (struct dirent *entry; (entry = readdir(directory));) {
            if (entry->d_type == DT_DIR && entry->d_name[0] != '.') each(entry->d_name, context);
        }
        closedir(directory);
    }
}
