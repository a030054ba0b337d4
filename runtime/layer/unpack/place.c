// Names, and the directories that they go through.

#include "place.h"
#include "attributes.h"
#include "confine.h"
#include "die.h"
#include "entries.h"
#include "options.h"
#include "request.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

int parent_socket;
bool is_root_opaque;

bool has_prefix(const char *text, const char *prefix) { return strncmp(text, prefix, strlen(prefix)) == 0; }

void normalise(const char *raw, char *path) {
  size_t length = 0, depth = 0;
  const char *whole = raw;
  if (!raw) die(LAYER_REFUSED, "an entry without a name");
  while (*raw) {
    size_t size = strcspn(raw, "/");
    if (size == 2 && memcmp(raw, "..", 2) == 0) die(LAYER_REFUSED, "an entry's name contains '..': %.200s", whole);
    if (size > 0 && !(size == 1 && *raw == '.')) {
      if (++depth > options.max_depth) die(LAYER_REFUSED, "an entry is deeper than %lu levels: %.200s", options.max_depth, whole);
      if (length + size + 1 > options.max_path) die(LAYER_REFUSED, "a name is longer than %lu bytes: %.200s", options.max_path, whole);
      if (length > 0) path[length++] = '/';
      memcpy(path + length, raw, size);
      length += size;
    }
    raw += size;
    raw += *raw == '/';
  }
  if (length == 0) path[length++] = '.';
  path[length] = '\0';
}

bool is_whiteout(const struct stat *status) {
  return S_ISCHR(status->st_mode) && status->st_rdev == makedev(0, 0);
}

static bool is_root(int directory) {
  struct stat root, status;
  if (stat("/", &root) < 0 || fstat(directory, &status) < 0) host_failed("looking at a directory");
  return status.st_ino == root.st_ino && status.st_dev == root.st_dev;
}

void mark_opaque(int directory) {
  if (is_root(directory)) is_root_opaque = true;
  else ask_for_opaque(parent_socket, directory);
}

int open_directory_at(int parent, const char *name, const char *path) {
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) entry_failed("open", path);
  return fd;
}

void mark_opaque_at(int parent, const char *name, const char *path) {
  int fd = open_directory_at(parent, name, path);
  mark_opaque(fd);
  close(fd);
}

static int remove_visited(const char *path, const struct stat *status, int type, struct FTW *place) {
  (void)status, (void)place;
  return type == FTW_DP ? rmdir(path) : unlink(path);
}

void remove_existing(int parent, const char *name, const char *path) {
  if (unlinkat(parent, name, 0) == 0 || errno == ENOENT) return;
  if (errno != EISDIR) entry_failed("replace", path);
  if (fchdir(parent) < 0 || nftw(name, remove_visited, MAX_OPEN_FILES / 2, FTW_DEPTH | FTW_PHYS) != 0 || chdir("/") < 0)
    entry_failed("replace", path);
}

void make_directory_at(int parent, const char *name, const char *path) {
  if (mkdirat(parent, name, 0755) == 0) return;
  struct stat existing;
  if (errno != EEXIST || fstatat(parent, name, &existing, AT_SYMLINK_NOFOLLOW) < 0) entry_failed("make", path);
  if (S_ISDIR(existing.st_mode)) return;
  remove_existing(parent, name, path);
  if (mkdirat(parent, name, 0755) < 0) entry_failed("make", path);
  mark_opaque_at(parent, name, path);
}

// Below a set-group-id directory it would take that one's group and bit.
static void make_implied_directory(const char *path) {
  count_entry();
  make_directory_at(AT_FDCWD, path, path);
  if (chown(path, 0, 0) < 0 || chmod(path, 0755) < 0) entry_failed("make", path);
  remember_directory_time(NO_TIME, path);
}

// Makes the directories that `path` goes through and that have no entry of their own (yet): 0755, root's. A symlink on
// the way is followed, as in `lib -> usr/lib` and `lib/x`: the kernel resolves it inside /, wherever it points.
static void make_implied_directories(char *path) {
  for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    struct stat existing;
    bool missing = lstat(path, &existing) < 0;
    if (missing && errno != ENOENT) entry_failed("go through", path);
    if (missing || is_whiteout(&existing)) make_implied_directory(path);
    *slash = '/';
  }
}

bool is_inside_file(char *path) {
  struct stat status;
  char *slash = strrchr(path, '/');
  if (!slash) return false;
  *slash = '\0';
  bool exists = stat(path, &status) == 0, goes_through_file = !exists && errno == ENOTDIR;
  *slash = '/';
  return goes_through_file || (exists && !S_ISDIR(status.st_mode) && !is_whiteout(&status));
}

int open_parent(char *path) {
  char *slash = strrchr(path, '/');
  if (!slash) return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  *slash = '\0';
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  *slash = '/';
  if (fd >= 0) return fd;
  make_implied_directories(path);
  *slash = '\0';
  fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) entry_failed("go through", path);
  *slash = '/';
  return fd;
}
