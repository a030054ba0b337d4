// Reads the policy file and compiles its seccomp rules to one BPF program with libseccomp, once for all sandboxes.

#include "policy.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MAX_ARGUMENT_RULES = 6 };

static unsigned line_number;
static const char *policy_path;

static _Noreturn void refuse(const char *what) {
    log_event(LOG_ERROR, "policy.refused", "\"file\":\"%s\",\"line\":%u,\"message\":\"%s\"", log_text(policy_path),
              line_number, log_text(what));
    exit(EXIT_FAILURE);
}

static uint64_t number(const char *text, uint64_t max) {
    char *end;
    errno = 0;
    unsigned long long value = text ? strtoull(text, &end, 10) : 0;
    if (!text || errno || end == text || *end || value > max) refuse("a number that is none, or too large");
    return value;
}

static const char *path_of(char *text) {
    if (!text || text[0] != '/' || strstr(text, "..")) refuse("not an absolute path");
    return text;
}

// ---- seccomp ----------------------------------------------------------------------------------------------------------

static scmp_filter_ctx filter;

static enum scmp_compare operator_of(const char *name) {
    static const char *const names[] = {"", "NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"};
    for (unsigned i = SCMP_CMP_NE; name && i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) return (enum scmp_compare)i;
    }
    refuse("an unknown operator");
}

static void add_rule(uint32_t action, char *names, const struct scmp_arg_cmp *arguments, unsigned count) {
    for (char *name; (name = strsep(&names, ","));) {
        int call = seccomp_syscall_resolve_name(name);
        // A profile speaks of calls that other architectures, or later kernels, have.
        if (call == __NR_SCMP_ERROR) continue;
        int error = seccomp_rule_add_array(filter, action, call, count, arguments);
        if (error && error != -EACCES) refuse(name); // EACCES: the rule says what the default says.
    }
}

static void read_rule(char *rest) {
    char *action = strsep(&rest, " "), *names = strsep(&rest, " ");
    if (!names || !*names) refuse("a rule without calls");
    struct scmp_arg_cmp arguments[MAX_ARGUMENT_RULES];
    unsigned count = 0;
    while (rest && *rest) {
        if (count == MAX_ARGUMENT_RULES) refuse("too many conditions");
        unsigned index = (unsigned)number(strsep(&rest, " "), 5);
        enum scmp_compare op = operator_of(strsep(&rest, " "));
        scmp_datum_t a = number(strsep(&rest, " "), UINT64_MAX), b = number(strsep(&rest, " "), UINT64_MAX);
        arguments[count++] = (struct scmp_arg_cmp){.arg = index, .op = op, .datum_a = a, .datum_b = b};
    }
    bool allowed = strcmp(action, "allow") == 0;
    add_rule(allowed ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO((uint32_t)number(action, 4095)), names, arguments, count);
}

static void read_seccomp(char *rest) {
    char *what = strsep(&rest, " ");
    if (strcmp(what, "default") == 0) {
        filter = seccomp_init(SCMP_ACT_ERRNO((uint32_t)number(rest, 4095)));
        if (!filter) refuse("no memory");
        seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); // A binary tree: the filter is run at every call.
    } else if (!filter) {
        refuse("seccomp default comes first");
    } else if (strcmp(what, "architecture") == 0) {
        uint32_t architecture = rest ? seccomp_arch_resolve_name(rest) : 0;
        int error = architecture ? seccomp_arch_add(filter, architecture) : -EINVAL;
        if (error && error != -EEXIST) refuse("an unknown architecture");
    } else if (strcmp(what, "rule") == 0) {
        read_rule(rest);
    } else {
        refuse("an unknown word");
    }
}

static int compile_filter(void) {
    int fd = memfd_create("seccomp", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (!filter || fd < 0 || seccomp_export_bpf(filter, fd)) refuse("the seccomp rules do not compile");
    seccomp_release(filter);
    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    return fd;
}

// ---- Lines ------------------------------------------------------------------------------------------------------------

static void read_device(struct policy *policy, char *rest) {
    if (policy->device_count == MAX_DEVICES) refuse("too many devices");
    uint32_t major = (uint32_t)number(strsep(&rest, " "), 4095);
    bool any = rest && strcmp(rest, "*") == 0;
    policy->devices[policy->device_count].major = major;
    policy->devices[policy->device_count++].minor = any ? -1 : (int64_t)number(rest, 1048575);
}

static void read_limit(struct policy *policy, char *rest) {
    if (policy->rlimit_count == MAX_RLIMITS) refuse("too many limits");
    uint32_t resource = (uint32_t)number(strsep(&rest, " "), RLIM_NLIMITS - 1);
    uint64_t soft = number(strsep(&rest, " "), RLIM_INFINITY), hard = number(rest, RLIM_INFINITY);
    if (soft > hard) refuse("a soft limit above the hard one");
    policy->rlimits[policy->rlimit_count].resource = resource;
    policy->rlimits[policy->rlimit_count].soft = soft;
    policy->rlimits[policy->rlimit_count++].hard = hard;
}

static void add_path(const char *paths[], unsigned *count, char *text) {
    if (*count == MAX_PATHS) refuse("too many paths");
    paths[(*count)++] = path_of(text);
}

static void read_line(struct policy *policy, char *line) {
    char *rest = line, *word = strsep(&rest, " ");
    if (!*word || *word == '#') return;
    if (!rest) refuse("a word without a value");
    if (strcmp(word, "uid-base") == 0) policy->uid_base = (uid_t)number(rest, UINT32_MAX - ID_COUNT);
    else if (strcmp(word, "capability") == 0) policy->capabilities |= UINT64_C(1) << number(rest, CAP_LAST_CAP);
    else if (strcmp(word, "mask") == 0) add_path(policy->masks, &policy->mask_count, rest);
    else if (strcmp(word, "readonly") == 0) add_path(policy->readonly, &policy->readonly_count, rest);
    else if (strcmp(word, "device") == 0) read_device(policy, rest);
    else if (strcmp(word, "limit") == 0) read_limit(policy, rest);
    else if (strcmp(word, "seccomp") == 0) read_seccomp(rest);
    else refuse("an unknown word");
}

// The text stays: the paths of the policy point into it.
static char *read_text(const char *path) {
    char *text = malloc(MAX_POLICY_BYTES + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t count = 0;
    if (!text || fd < 0) refuse(strerror(errno));
    for (ssize_t got; (got = read(fd, text + count, MAX_POLICY_BYTES - count)) > 0;) count += (size_t)got;
    close(fd);
    if (count == MAX_POLICY_BYTES || memchr(text, '\0', count)) refuse("too long, or no text");
    text[count] = '\0';
    return text;
}

void policy_read(const char *path, struct policy *policy) {
    *policy = (struct policy){.filter_fd = -1};
    policy_path = path;
    char *text = read_text(path);
    for (char *line; (line = strsep(&text, "\n"));) {
        line_number++;
        read_line(policy, line);
    }
    if (policy->uid_base < ID_COUNT) refuse("uid-base is missing, or would give containers the host's own users");
    policy->filter_fd = compile_filter();
}
