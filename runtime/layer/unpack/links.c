// A link whose target has not come yet waits as a placeholder under its name, so that what comes after it sees a file there: it can
// replace it, link to it, fail to go through it. A placeholder is a socket, which no layer can hold; its time is its number.

#include "links.h"
#include "die.h"
#include "place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct waiting_link {
  char *path, *target; // NULL once it waits no more.
} waiting[MAX_WAITING_LINKS];
static size_t waiting_count;

static bool is_same_file(const struct stat *a, const struct stat *b) {
  return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static char *left_out[MAX_LEFT_OUT];
static size_t left_out_count;

void remember_left_out(const char *path) {
  if (left_out_count < MAX_LEFT_OUT && (left_out[left_out_count] = strdup(path))) left_out_count++;
}

static bool is_left_out(const char *path) {
  for (size_t i = 0; i < left_out_count; i++)
    if (strcmp(left_out[i], path) == 0) return true;
  return false;
}

// A whiteout is nothing to link to, but may yet be replaced.
static bool may_still_come(const struct stat *target) { return S_ISSOCK(target->st_mode) || is_whiteout(target); }

// The names of directories on the way can come to lead elsewhere; where they lead now stays.
static char *real_path(int parent, const char *name, const char *path) {
  char directory[PATH_MAX], *real;
  if (fchdir(parent) < 0 || !getcwd(directory, sizeof directory) || chdir("/") < 0) entry_failed("link", path);
  if (asprintf(&real, "%s/%s", directory[1] ? directory : "", name) < 0) die(LAYER_REFUSED, "no memory for the hard link %s", path);
  return real;
}

static void let_wait(int parent, const char *name, const char *target, const char *path) {
  if (waiting_count == MAX_WAITING_LINKS)
    die(LAYER_REFUSED, "more than %u hard links to files that come after them, such as %s", MAX_WAITING_LINKS, path);
  struct waiting_link link = {real_path(parent, name, path), strdup(target)};
  if (!link.target) die(LAYER_REFUSED, "no memory for the hard link %s", path);
  struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = (time_t)waiting_count}};
  if (mknodat(parent, name, S_IFSOCK | 0600, 0) < 0 || utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) < 0)
    entry_failed("link", path);
  waiting[waiting_count++] = link;
}

void unpack_hard_link(int parent, const char *name, struct archive_entry *entry, const char *path) {
  char target[PATH_MAX];
  struct stat found, existing;
  normalise(archive_entry_hardlink(entry), target);
  bool is_there = lstat(target, &found) == 0;
  if (!is_there && errno != ENOENT) entry_failed("link", path);
  if (is_there && fstatat(parent, name, &existing, AT_SYMLINK_NOFOLLOW) == 0 && is_same_file(&found, &existing)) return;
  remove_existing(parent, name, path);
  if (!is_there || may_still_come(&found)) let_wait(parent, name, target, path);
  else if (linkat(AT_FDCWD, target, parent, name, 0) < 0) entry_failed("link", path);
}

// Whatever has taken the placeholder's place came later, so it stays.
static bool is_replaced(size_t number) {
  struct stat existing;
  return lstat(waiting[number].path, &existing) < 0 || !S_ISSOCK(existing.st_mode) ||
         existing.st_mtim.tv_sec != (time_t)number;
}

// True when the link waits no more.
static bool try_link(size_t number) {
  const struct waiting_link *link = &waiting[number];
  struct stat found;
  if (is_replaced(number)) return true;
  bool is_there = lstat(link->target, &found) == 0 && !may_still_come(&found);
  if (!is_there && !is_left_out(link->target)) return false;
  if (unlink(link->path) < 0) entry_failed("link", link->path + 1);
  if (!is_there) remember_left_out(link->path + 1);
  else if (linkat(AT_FDCWD, link->target, AT_FDCWD, link->path, 0) < 0)
    entry_failed("link", link->path + 1);
  return true;
}

static bool make_those_possible(void) {
  bool made = false;
  for (size_t i = 0; i < waiting_count; i++) {
    if (!waiting[i].path || !try_link(i)) continue;
    free(waiting[i].path), free(waiting[i].target);
    waiting[i] = (struct waiting_link){0};
    made = true;
  }
  return made;
}

// Links to links: each round makes those whose target the last one has made.
void make_waiting_links(void) {
  while (make_those_possible()) {}
  for (size_t i = 0; i < waiting_count; i++)
    if (waiting[i].path)
      die(LAYER_REFUSED, "cannot link %.200s: its target %.200s is not in the layer", waiting[i].path + 1,
          waiting[i].target);
}
