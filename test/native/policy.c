// Reads a policy file as the launcher does, and says what it has understood as one JSON line. A file that is refused ends it with the
// launcher's own log line.

#include "../../runtime/launcher/policy.h"

#include <inttypes.h>
#include <linux/filter.h>
#include <stdio.h>
#include <sys/stat.h>

static void tell_paths(const char *name, const char *const paths[], unsigned count) {
    printf(",\"%s\":[", name);
    for (unsigned i = 0; i < count; i++) printf("%s\"%s\"", i ? "," : "", paths[i]);
    printf("]");
}

int main(int argc, char *argv[]) {
    static struct policy policy; // As the launcher has it: the text it points into stays.
    struct stat filter;
    if (argc != 2) return 64;
    policy_read(argv[1], &policy);
    if (fstat(policy.filter_fd, &filter)) return 1;
    printf("{\"uidBase\":%u,\"capabilities\":\"%" PRIx64 "\"", policy.uid_base, policy.capabilities);
    tell_paths("masks", policy.masks, policy.mask_count);
    tell_paths("readonly", policy.readonly, policy.readonly_count);
    printf(",\"devices\":[");
    for (unsigned i = 0; i < policy.device_count; i++)
        printf("%s[%u,%" PRId64 "]", i ? "," : "", policy.devices[i].major, policy.devices[i].minor);
    printf("],\"limits\":[");
    for (unsigned i = 0; i < policy.rlimit_count; i++)
        printf("%s[%u,%" PRIu64 ",%" PRIu64 "]", i ? "," : "", policy.rlimits[i].resource, policy.rlimits[i].soft, policy.rlimits[i].hard);
    printf("],\"instructions\":%zu}\n", (size_t)filter.st_size / sizeof(struct sock_filter));
    return 0;
}
