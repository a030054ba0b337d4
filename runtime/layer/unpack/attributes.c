// Sets them in the order in which they survive each other.

#include "attributes.h"
#include "die.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

uint64_t xattrs_skipped;

static struct directory_time {
  char *path;
  struct timespec modified;
} *directory_times;
static size_t directory_time_count, directory_time_room;

static void set_xattrs(int fd, struct archive_entry *entry, const char *path) {
  const char *name;
  const void *value;
  size_t size;
  archive_entry_xattr_reset(entry);
  while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
    // These steer overlayfs and other parts of the host's kernel: a layer does not get to write them.
    bool steers_host = strncmp(name, "trusted.", 8) == 0 || strncmp(name, "user.overlay.", 13) == 0;
    if (!steers_host && fsetxattr(fd, name, value, size, 0) == 0) continue;
    if (!steers_host && errno != EOPNOTSUPP && errno != EPERM && errno != EINVAL) entry_failed("set an xattr of", path);
    xattrs_skipped++;
  }
}

struct timespec modified_time(struct archive_entry *entry) {
  if (!archive_entry_mtime_is_set(entry)) return (struct timespec){.tv_nsec = UTIME_OMIT};
  return (struct timespec){.tv_sec = archive_entry_mtime(entry), .tv_nsec = archive_entry_mtime_nsec(entry)};
}

// In this order: chown clears the set-id bits and the file capabilities, so they come after it.
void set_attributes(int fd, struct archive_entry *entry, const char *path) {
  if (fchown(fd, archive_entry_uid(entry), archive_entry_gid(entry)) < 0) entry_failed("set the owner of", path);
  if (fchmod(fd, archive_entry_perm(entry)) < 0) entry_failed("set the mode of", path);
  set_xattrs(fd, entry, path);
}

void set_own_attributes_at(int parent, const char *name, struct archive_entry *entry, const char *path) {
  if (fchownat(parent, name, archive_entry_uid(entry), archive_entry_gid(entry), AT_SYMLINK_NOFOLLOW) < 0)
    entry_failed("set the owner of", path);
  struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, modified_time(entry)};
  if (utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) < 0) entry_failed("set the time of", path);
}

void remember_directory_time(struct archive_entry *entry, const char *path) {
  if (directory_time_count == directory_time_room) {
    directory_time_room = directory_time_room ? directory_time_room * 2 : 256;
    directory_times = reallocarray(directory_times, directory_time_room, sizeof *directory_times);
  }
  char *copy = strdup(path);
  if (!directory_times || !copy) die(LAYER_REFUSED, "the layer's directories need more memory than a layer may take");
  directory_times[directory_time_count++] = (struct directory_time){copy, modified_time(entry)};
}

void set_directory_times(void) {
  for (size_t i = 0; i < directory_time_count; i++) {
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, directory_times[i].modified};
    int fd = open(directory_times[i].path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) continue; // A later entry replaced it by something else, which has its own time.
    if (futimens(fd, times) < 0) entry_failed("set the time of", directory_times[i].path);
    close(fd);
  }
}
