// An entry a call: by its type, a file is made under its name, filled, and given its attributes.

#include "entries.h"
#include "attributes.h"
#include "content.h"
#include "die.h"
#include "links.h"
#include "markers.h"
#include "options.h"
#include "place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct unpack_counts counts;

static void unpack_file(int parent, const char *name, struct archive *tar, struct archive_entry *entry,
                        const char *path) {
  remove_existing(parent, name, path);
  int fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) entry_failed("make", path);
  write_content(fd, tar, entry, path);
  set_attributes(fd, entry, path);
  struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, modified_time(entry)};
  if (futimens(fd, times) < 0) entry_failed("set the time of", path);
  if (close(fd) < 0) entry_failed("write", path);
}

static void unpack_directory(int parent, const char *name, struct archive_entry *entry, const char *path) {
  make_directory_at(parent, name, path);
  int fd = open_directory_at(parent, name, path);
  set_attributes(fd, entry, path);
  remember_directory_time(modified_time(entry), path);
  close(fd);
}

static void unpack_symlink(int parent, const char *name, struct archive_entry *entry, const char *path) {
  const char *target = archive_entry_symlink(entry);
  if (!target || !*target) die(LAYER_REFUSED, "symbolic link without a target: %s", path);
  remove_existing(parent, name, path);
  if (symlinkat(target, parent, name) < 0) entry_failed("make", path);
  set_own_attributes_at(parent, name, entry, path);
}

static void unpack_fifo(int parent, const char *name, struct archive_entry *entry, const char *path) {
  remove_existing(parent, name, path);
  if (mkfifoat(parent, name, 0600) < 0) entry_failed("make", path);
  set_own_attributes_at(parent, name, entry, path);
  if (fchmodat(parent, name, archive_entry_perm(entry), 0) < 0) entry_failed("set the mode of", path);
}

// The runtime provides /dev. No whiteout stands for the device: in a directory that no other layer has, overlayfs would list it. One
// that the layer itself has put there stays: what it takes away is not to come back.
static void leave_out_device(int parent, const char *name, const char *path) {
  struct stat existing;
  counts.devices_skipped++;
  bool is_gone = fstatat(parent, name, &existing, AT_SYMLINK_NOFOLLOW) == 0 && is_whiteout(&existing);
  if (!is_gone) remove_existing(parent, name, path);
  remember_left_out(path);
}

static void unpack_object(int parent, const char *name, struct archive *tar, struct archive_entry *entry,
                          const char *path) {
  if (archive_entry_hardlink(entry)) return unpack_hard_link(parent, name, entry, path);
  switch (archive_entry_filetype(entry)) {
    case AE_IFREG: return unpack_file(parent, name, tar, entry, path);
    case AE_IFDIR: return unpack_directory(parent, name, entry, path);
    case AE_IFLNK: return unpack_symlink(parent, name, entry, path);
    case AE_IFIFO: return unpack_fifo(parent, name, entry, path);
    case AE_IFCHR:
    case AE_IFBLK: return leave_out_device(parent, name, path);
    default: die(LAYER_REFUSED, "a type that no layer may have: %s", path);
  }
}

static void check_owner(struct archive_entry *entry, const char *path) {
  int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);
  if (uid < 0 || uid >= ID_COUNT || gid < 0 || gid >= ID_COUNT)
    die(LAYER_REFUSED, "owner %ld:%ld is outside 0 to %u: %s", uid, gid, ID_COUNT - 1, path);
}

void count_entry(void) {
  if (++counts.entries > options.max_entries) die(LAYER_REFUSED, "more than %lu entries", options.max_entries);
}

void unpack_entry(struct archive *tar, struct archive_entry *entry) {
  char path[PATH_MAX];
  count_entry();
  normalise(archive_entry_pathname(entry), path);
  if (is_inside_marker(path) || is_vain_marker(path)) return;
  check_owner(entry, path);
  int parent = open_parent(path);
  if (parent < 0) entry_failed("go through", path);
  const char *slash = strrchr(path, '/');
  const char *name = slash ? slash + 1 : path;
  if (strcmp(path, ".") == 0 && archive_entry_filetype(entry) != AE_IFDIR)
    die(LAYER_REFUSED, "the root of the layer is not a directory");
  if (is_marker(name)) unpack_marker(parent, name, path);
  else unpack_object(parent, name, tar, entry, path);
  close(parent);
}
