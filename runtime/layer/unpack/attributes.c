// Sets them in the order in which they survive each other.

#include "attributes.h"
#include "die.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

uint64_t xattrs_skipped;

static struct directory_time {
  char *path;
  struct timespec modified;
} *directory_times;
static size_t directory_time_count, directory_time_room;

// A full disk has no blocks left; else the file system has no room for attributes of that size.
static _Noreturn void xattr_failed(int fd, const char *name, const char *path) {
  struct statvfs disk;
  int error = errno;
  if (error == ENOSPC && fstatvfs(fd, &disk) == 0 && disk.f_bavail > 0)
    die(LAYER_REFUSED, "an xattr that does not fit the file system: %.200s of %s", name, path);
  errno = error;
  entry_failed("set an xattr of", path);
}

// These steer overlayfs and other parts of the host's kernel: a layer does not get to write them.
static bool steers_host(const char *name) {
  return strncmp(name, "trusted.", 8) == 0 || strncmp(name, "user.overlay.", 13) == 0;
}

static bool was_not_for_us(int error) { return error == EOPNOTSUPP || error == EPERM || error == EINVAL; }

static void check_xattrs(struct archive_entry *entry, const char *path) {
  const char *name;
  const void *value;
  size_t size, total = 0;
  unsigned count = (unsigned)archive_entry_xattr_reset(entry);
  if (count > MAX_XATTRS) die(LAYER_REFUSED, "more than %u xattrs: %s", MAX_XATTRS, path);
  while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) total += strlen(name) + size;
  if (total > MAX_XATTR_BYTES) die(LAYER_REFUSED, "xattrs of more than %u bytes: %s", MAX_XATTR_BYTES, path);
}

static void set_xattrs(int fd, struct archive_entry *entry, const char *path) {
  const char *name;
  const void *value;
  size_t size;
  check_xattrs(entry, path);
  archive_entry_xattr_reset(entry);
  while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
    if (!steers_host(name) && fsetxattr(fd, name, value, size, 0) == 0) continue;
    if (!steers_host(name) && !was_not_for_us(errno)) xattr_failed(fd, name, path);
    xattrs_skipped++;
  }
}

// Of "-1.5", libarchive makes -1 seconds and 500,000,000 nanoseconds, which would be -0.5.
struct timespec modified_time(struct archive_entry *entry) {
  if (!archive_entry_mtime_is_set(entry)) return (struct timespec){.tv_nsec = UTIME_OMIT};
  struct timespec time = {.tv_sec = archive_entry_mtime(entry), .tv_nsec = archive_entry_mtime_nsec(entry)};
  if (time.tv_sec >= 0 || time.tv_nsec == 0) return time;
  return (struct timespec){.tv_sec = time.tv_sec - 1, .tv_nsec = 1000000000 - time.tv_nsec};
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
  xattrs_skipped += (unsigned)archive_entry_xattr_reset(entry);
  struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, modified_time(entry)};
  if (utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) < 0) entry_failed("set the time of", path);
}

void remember_directory_time(struct timespec modified, const char *path) {
  static size_t path_bytes;
  if (directory_time_count == directory_time_room) {
    directory_time_room = directory_time_room ? directory_time_room * 2 : 256;
    directory_times = reallocarray(directory_times, directory_time_room, sizeof *directory_times);
  }
  char *copy = strdup(path);
  if (!directory_times || !copy || (path_bytes += strlen(path)) > MAX_DIRECTORY_NAME_BYTES)
    die(LAYER_REFUSED, "directories whose names take more than %u bytes, at %s", MAX_DIRECTORY_NAME_BYTES, path);
  directory_times[directory_time_count++] = (struct directory_time){copy, modified};
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
