// Looks up users and groups in the image's own files, inside the image's root, where a symlink can lead nowhere else. The files
// are foreign: lines that are too long or too short are passed over, and nothing in them can name an id the container lacks.

#include "account.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_ID = 65535,    // The user namespace has no more; an image may speak of others all the same.
    LINE_BYTES = 8192, // A line of passwd or group; a longer one is skipped.
};

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

bool find_account(const char *user, struct account *account) {
    char copy[512];
    snprintf(copy, sizeof copy, "%s", user);
    char *group = copy, *name = strsep(&group, ":");
    snprintf(account->home, sizeof account->home, "/");

    struct user_query query = {.name = name, .account = account};
    if (*name == '\0') query = (struct user_query){.uid = 0, .account = account};
    else if (parse_id(name, &query.uid)) query.name = NULL;
    if (!find_line("/etc/passwd", take_user, &query)) {
        if (query.name) return false;
        account->uid = query.uid;
    }

    if (group && *group) {
        struct group_query wanted = {.name = group};
        if (!parse_id(group, &wanted.gid) && !find_line("/etc/group", take_group, &wanted)) return false;
        account->gid = wanted.gid;
    } else if (account->name[0]) {
        find_line("/etc/group", take_membership, account);
    }
    if (account->group_count == 0) account->groups[account->group_count++] = account->gid;
    return true;
}
