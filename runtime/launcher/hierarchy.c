// Reads the kernel's list of mounts for the cgroup hierarchies that sandboxes need.

#include "hierarchy.h"

#include <stdio.h>
#include <string.h>

static const char *const controller_names[CONTROLLERS] = {"memory", "cpu", "cpuacct", "pids", "devices"};

static bool has_option(const char *options, const char *name) {
    size_t length = strlen(name);
    for (const char *at = options; (at = strstr(at, name)); at += length) {
        bool starts = at == options || at[-1] == ',', ends = at[length] == '\0' || at[length] == ',';
        if (starts && ends) return true;
    }
    return false;
}

static void name_hierarchy(struct hierarchy *hierarchy, const char *options) {
    for (int c = 0; c < CONTROLLERS; c++) {
        if (!has_option(options, controller_names[c])) continue;
        size_t used = strlen(hierarchy->name);
        snprintf(hierarchy->name + used, sizeof hierarchy->name - used, "%s%s", used ? "," : "", controller_names[c]);
    }
}

static int add_hierarchy(struct cgroups *cgroups, const char *path, const char *options) {
    if (cgroups->count == MAX_HIERARCHIES) return -1;
    struct hierarchy *hierarchy = &cgroups->hierarchies[cgroups->count];
    snprintf(hierarchy->path, sizeof hierarchy->path, "%s", path);
    if (options) name_hierarchy(hierarchy, options);
    return (int)cgroups->count++;
}

// One line: `35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory`.
static void read_mount(struct cgroups *cgroups, char *line, char unified[256]) {
    char *after = strstr(line, " - "), path[256], type[32], options[256];
    if (!after || sscanf(line, "%*s %*s %*s %*s %255s", path) != 1) return;
    if (sscanf(after, " - %31s %*s %255s", type, options) != 2) return;
    if (strcmp(type, "cgroup2") == 0) snprintf(unified, 256, "%s", path);
    if (strcmp(type, "cgroup") != 0) return;
    int index = -1;
    for (int c = 0; c < CONTROLLERS; c++) {
        if (cgroups->of[c] >= 0 || !has_option(options, controller_names[c])) continue;
        if (index < 0 && (index = add_hierarchy(cgroups, path, options)) < 0) return;
        cgroups->of[c] = index;
    }
}

const char *hierarchies_find(struct cgroups *cgroups, const char *mountinfo) {
    char line[4096], unified[256] = "";
    FILE *file = fopen(mountinfo, "re");
    if (!file) return "mountinfo cannot be read";
    for (int c = 0; c < CONTROLLERS; c++) cgroups->of[c] = -1;
    while (fgets(line, sizeof line, file)) read_mount(cgroups, line, unified);
    fclose(file);
    cgroups->version = cgroups->count > 0 ? 1 : 2;
    if (cgroups->version == 1) {
        for (int c = 0; c < CONTROLLERS; c++) {
            if (cgroups->of[c] < 0) return "a cgroup controller (memory, cpu, cpuacct, pids, devices) is not mounted";
        }
        return NULL;
    }
    if (!unified[0]) return "no cgroup file system is mounted";
    for (int c = 0; c < CONTROLLERS; c++) cgroups->of[c] = 0;
    return add_hierarchy(cgroups, unified, NULL) < 0 ? "no room" : NULL;
}
