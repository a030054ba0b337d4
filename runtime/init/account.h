// Who the program shall be: a Dockerfile's USER, looked up in the image.

#pragma once
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { MAX_GROUPS = 256 };

struct account {
    uid_t uid;
    gid_t gid;
    gid_t groups[MAX_GROUPS];
    size_t group_count;
    char name[256];
    char home[PATH_MAX];
};

// USER is name, uid, name:group, uid:gid or a mixture, "" for root; a uid without an entry is allowed. Reads /etc/passwd and
// /etc/group of the root it is called in. False if the image has no such user or group.
bool find_account(const char *user, struct account *account);
