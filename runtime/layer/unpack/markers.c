// Whiteouts, in the form that overlayfs reads: a character device 0:0, or a mark on a directory.

#include "markers.h"
#include "die.h"
#include "place.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static const char WHITEOUT_PREFIX[] = ".wh.";
static const char AUFS_PREFIX[] = ".wh..wh.";
static const char OPAQUE_MARKER[] = ".wh..wh..opq";

bool is_marker(const char *name) { return has_prefix(name, WHITEOUT_PREFIX); }

bool is_inside_marker(const char *path) {
  const char *marker = has_prefix(path, WHITEOUT_PREFIX) ? path : strstr(path, "/.wh.");
  return marker && strchr(marker + 1, '/');
}

// A whiteout speaks of the layers below only: what this layer itself put there stays.
bool is_vain_marker(char *path) {
  const char *slash = strrchr(path, '/');
  return slash && is_marker(slash + 1) && is_inside_file(path);
}

static void unpack_whiteout(int parent, const char *name, const char *path) {
  if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
    die(LAYER_REFUSED, "a whiteout of nothing: %s", path);
  if (mknodat(parent, name, S_IFCHR, makedev(0, 0)) == 0) return;
  struct stat existing;
  if (errno != EEXIST || fstatat(parent, name, &existing, AT_SYMLINK_NOFOLLOW) < 0) entry_failed("white out", path);
  if (S_ISDIR(existing.st_mode)) mark_opaque_at(parent, name, path);
}

void unpack_marker(int parent, const char *name, const char *path) {
  if (strcmp(name, OPAQUE_MARKER) == 0) mark_opaque(parent);
  else if (!has_prefix(name, AUFS_PREFIX)) unpack_whiteout(parent, name + strlen(WHITEOUT_PREFIX), path);
}
