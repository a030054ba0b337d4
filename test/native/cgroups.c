// Calls cgroup.h as a test says, and says what came of it: one JSON line a word.
//
//   cgroups MOUNTINFO PARENT WORD…
//
//   make NAME | limit NAME MEMORY QUOTA PIDS | read NAME | join NAME PID | kill NAME | remove NAME | each | layout

#include "../../runtime/launcher/cgroup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct cgroups cgroups;

static void tell(const char *word, int result) {
    printf("{\"word\":\"%s\",\"failed\":\"%s\"}\n", word, result ? strerror(errno) : "");
}

static void tell_facts(const char *name) {
    struct cgroup_facts facts = {0};
    if (cgroup_read(&cgroups, name, &facts)) return tell("read", -1);
    printf("{\"word\":\"read\",\"failed\":\"\",\"cpuUs\":\"%" PRIu64 "\",\"throttledUs\":\"%" PRIu64 "\",\"peak\":\"%" PRIu64
           "\",\"oomKills\":\"%" PRIu64 "\"}\n", facts.cpu_us, facts.throttled_us, facts.peak_memory_bytes, facts.oom_kills);
}

static void tell_layout(void) {
    printf("{\"word\":\"layout\",\"failed\":\"\",\"version\":%d,\"hierarchies\":[", cgroups.version);
    for (unsigned i = 0; i < cgroups.count; i++) {
        const struct hierarchy *hierarchy = &cgroups.hierarchies[i];
        printf("%s{\"path\":\"%s\",\"name\":\"%s\",\"perSandbox\":%s}", i ? "," : "", hierarchy->path, hierarchy->name,
               hierarchy->per_sandbox ? "true" : "false");
    }
    printf("]}\n");
}

static void tell_name(const char *name, void *context) {
    (void)context;
    printf("{\"word\":\"each\",\"failed\":\"\",\"name\":\"%s\"}\n", name);
}

static int limit(char *at[]) {
    struct cgroup_limits limits = {strtoull(at[1], NULL, 10), (uint32_t)atoi(at[2]), (uint32_t)atoi(at[3])};
    return cgroup_limit(&cgroups, at[0], &limits);
}

int main(int argc, char *argv[]) {
    struct policy policy = {.device_count = 2, .devices = {{1, 3}, {136, -1}}};
    if (argc < 3) return 64;
    const char *failed = cgroup_open(&cgroups, argv[1], argv[2]);
    if (!failed && cgroup_rule_devices(&cgroups, &policy)) failed = "the device rules cannot be set";
    printf("{\"word\":\"open\",\"failed\":\"%s\"}\n", failed ? failed : "");
    for (char **at = argv + 3; *at;) {
        const char *word = *at++;
        if (strcmp(word, "make") == 0) tell(word, cgroup_make(&cgroups, *at++));
        else if (strcmp(word, "limit") == 0) tell(word, limit(at)), at += 4;
        else if (strcmp(word, "read") == 0) tell_facts(*at++);
        else if (strcmp(word, "join") == 0) tell(word, cgroup_join(&cgroups, at[0], atoi(at[1]))), at += 2;
        else if (strcmp(word, "kill") == 0) cgroup_kill(&cgroups, *at++), tell(word, 0);
        else if (strcmp(word, "remove") == 0) tell(word, cgroup_remove(&cgroups, *at++));
        else if (strcmp(word, "each") == 0) cgroup_each(&cgroups, tell_name, NULL);
        else if (strcmp(word, "layout") == 0) tell_layout();
        else return 64;
    }
    return 0;
}
