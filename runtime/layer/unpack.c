// mayfly-unpack: unpacks one layer of an image, a tar stream on stdin, into an empty directory.
//
//   mayfly-unpack DIR --uid-base N [--max-entries N] [--max-bytes N] [--max-path N] [--max-depth N]
//
// The one idea: the bytes are foreign, so whatever parses them has no power. The process that reads the tar is root of
// a user namespace in which DIR is all there is; what it cannot do from in there, its parent does, after looking.
//
//   parent: root of the host                        child: root of DIR and of nothing else
//   opens DIR, gives it to uid-base
//   clone ────────────────────────────────────────▶ waits
//   writes uid_map and gid_map
//   GO ───────────────────────────────────────────▶ makes DIR its /, drops its capabilities, reads the tar
//        ◀───────────────────── fd of a directory   for every opaque directory
//   sets trusted.overlay.opaque on it
//   GO ───────────────────────────────────────────▶ goes on
//        ◀──────────────────────────────── exits
//   flushes the file system
//
// What is on disk afterwards: owners shifted by uid-base, OCI whiteouts in the form overlayfs reads (a character device
// 0:0, `trusted.overlay.opaque`), no device nodes (the runtime provides /dev). The directory depends on no other layer.
//
// stdout, on success: {"entries":N,"bytes":N,"devicesSkipped":N,"xattrsSkipped":N}
// stderr, otherwise: one line that says what is wrong.
// Exit status: 0 done and flushed · 1 the host could not · 2 wrong usage · 3 the layer is invalid or over a limit.
// After any other status than 0, DIR holds rubbish and is the caller's to remove. When the caller dies, so does the
// parent, and when the parent dies, so does the child: nobody goes on writing into DIR.
//
// What it does not do: decompress, verify digests, rename. The caller does, and keeps DIR only if everything holds.

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { DONE = 0, HOST_FAILED = 1, WRONG_USAGE = 2, LAYER_REFUSED = 3 };

// The range of a container's uids and gids: what the user namespace maps, and all that an entry may name.
#define ID_COUNT 65536u

// A tar of a million entries is larger than any image in use; a bomb of empty files is larger still.
#define DEFAULT_MAX_ENTRIES 1000000u
// Bytes of the tar stream, which bounds what is written: even sparse files cost the stream what they cost the disk.
#define DEFAULT_MAX_BYTES (20ull << 30)
#define DEFAULT_MAX_PATH 4000u
#define DEFAULT_MAX_DEPTH 512u

// What the parser may allocate: the modification times of a million directories fit, a header bomb does not.
#define MEMORY_BYTES (512ul << 20)
#define READ_BYTES (256u << 10)
// Open files: the three standard ones, the socket, and a few for the entry in hand and for removing a tree.
#define MAX_OPEN_FILES 64u

static const char WHITEOUT_PREFIX[] = ".wh.";
static const char AUFS_PREFIX[] = ".wh..wh.";
static const char OPAQUE_MARKER[] = ".wh..wh..opq";

static struct {
  const char *directory;
  uint64_t uid_base, max_entries, max_bytes, max_path, max_depth;
} options = {
    .max_entries = DEFAULT_MAX_ENTRIES,
    .max_bytes = DEFAULT_MAX_BYTES,
    .max_path = DEFAULT_MAX_PATH,
    .max_depth = DEFAULT_MAX_DEPTH,
};

// ---- Ending badly -------------------------------------------------------------------------------------------------

// Names in the message are foreign: they must not forge a second line or play with a terminal.
__attribute__((format(printf, 2, 3))) static _Noreturn void die(int status, const char *format, ...) {
  char line[PATH_MAX + 512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  for (char *c = line; *c; c++)
    if ((unsigned char)*c < ' ' || *c == 0x7f) *c = '?';
  dprintf(STDERR_FILENO, "%s\n", line);
  _exit(status);
}

// These say that the host is short of something, not that the layer is wrong.
static bool is_fault_of_host(int error) {
  return error == ENOSPC || error == EDQUOT || error == EIO || error == EROFS || error == EMFILE || error == ENFILE;
}

static _Noreturn void host_failed(const char *action) { die(HOST_FAILED, "%s: %s", action, strerror(errno)); }

static _Noreturn void entry_failed(const char *action, const char *path) {
  die(is_fault_of_host(errno) ? HOST_FAILED : LAYER_REFUSED, "cannot %s %s: %s", action, path, strerror(errno));
}

// ---- The child's request to the parent: mark this directory opaque ------------------------------------------------

union fd_control {
  struct cmsghdr header; // For its alignment.
  char bytes[CMSG_SPACE(sizeof(int))];
};

static void send_fd(int socket, int fd) {
  union fd_control control = {0};
  char byte = 0;
  struct iovec data = {.iov_base = &byte, .iov_len = 1};
  struct msghdr message = {
      .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(rights), &fd, sizeof fd);
  if (sendmsg(socket, &message, MSG_NOSIGNAL) != 1) host_failed("asking the parent");
}

// -1 when the child has closed its end. A message without exactly one descriptor is a child gone wrong.
static int receive_fd(int socket) {
  union fd_control control = {0};
  char byte;
  struct iovec data = {.iov_base = &byte, .iov_len = 1};
  struct msghdr message = {
      .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  ssize_t received;
  do received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  while (received < 0 && errno == EINTR);
  if (received <= 0) return -1;
  struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
  if (!rights || rights->cmsg_type != SCM_RIGHTS || rights->cmsg_len != CMSG_LEN(sizeof(int)) ||
      (message.msg_flags & MSG_CTRUNC))
    die(LAYER_REFUSED, "the unpacking process sent an invalid request");
  int fd;
  memcpy(&fd, CMSG_DATA(rights), sizeof fd);
  return fd;
}

static void send_go(int socket) {
  char go = 'g';
  if (send(socket, &go, 1, MSG_NOSIGNAL) != 1) host_failed("waking the unpacking process");
}

// A parent that has died says nothing more: then there is nothing left to do either.
static void wait_for_go(int socket) {
  char go;
  ssize_t received;
  do received = recv(socket, &go, 1, 0);
  while (received < 0 && errno == EINTR);
  if (received != 1) _exit(HOST_FAILED);
}

// ---- The child: confining itself ----------------------------------------------------------------------------------

// A new mount of the working directory becomes the root, and the host's tree is let go: no path leads back to it. The
// working directory was set before the clone, so no directory above DIR needs to be readable for this process.
static void make_working_directory_the_root(void) {
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) host_failed("making mounts private");
  int tree = open_tree(AT_FDCWD, ".", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (tree < 0) host_failed("cloning the mount of the directory");
  if (move_mount(tree, "", AT_FDCWD, ".", MOVE_MOUNT_F_EMPTY_PATH) < 0) host_failed("mounting the directory");
  if (fchdir(tree) < 0) host_failed("entering the directory");
  close(tree);
  if (syscall(SYS_pivot_root, ".", ".") < 0) host_failed("changing the root");
  if (umount2(".", MNT_DETACH) < 0) host_failed("letting go of the host's root");
  if (chdir("/") < 0) host_failed("entering the new root");
}

// What is left: owning, permissions and file capabilities, of files whose owner this user namespace maps.
static void drop_capabilities(void) {
  const uint32_t kept =
      1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE | 1u << CAP_FOWNER | 1u << CAP_FSETID | 1u << CAP_SETFCAP;
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct sets[2] = {0};
  sets[0].effective = sets[0].permitted = kept;
  if (syscall(SYS_capset, &header, sets) < 0) host_failed("dropping capabilities");
}

static void limit(int resource, rlim_t value) {
  struct rlimit both = {.rlim_cur = value, .rlim_max = value};
  if (setrlimit(resource, &both) < 0) host_failed("setting a resource limit");
}

static void confine(int socket) {
  if (setresgid(0, 0, 0) < 0 || setgroups(0, NULL) < 0 || setresuid(0, 0, 0) < 0) host_failed("becoming root inside");
  // Only now: a change of credentials clears the death signal. A parent that died before it shows as a hang-up.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) host_failed("tying this process to its parent");
  struct pollfd parent = {.fd = socket};
  if (poll(&parent, 1, 0) != 0) _exit(HOST_FAILED);
  make_working_directory_the_root();
  limit(RLIMIT_AS, MEMORY_BYTES);
  limit(RLIMIT_NOFILE, MAX_OPEN_FILES);
  limit(RLIMIT_CORE, 0);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) host_failed("forbidding new privileges");
  drop_capabilities();
  umask(0);
}

// ---- The child: unpacking. From here on, every path is relative to / and / is DIR ---------------------------------

static int parent_socket;
static struct { uint64_t entries, bytes, devices_skipped, xattrs_skipped; } counts;

// Directories change while they are filled, so their times are set last.
static struct directory_time {
  char *path;
  struct timespec modified;
} *directory_times;
static size_t directory_time_count, directory_time_room;

static bool is_whiteout(const struct stat *status) {
  return S_ISCHR(status->st_mode) && status->st_rdev == makedev(0, 0);
}

static void mark_opaque(int directory) {
  send_fd(parent_socket, directory);
  wait_for_go(parent_socket);
}

static int open_directory_at(int parent, const char *name, const char *path) {
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) entry_failed("open", path);
  return fd;
}

static void mark_opaque_at(int parent, const char *name, const char *path) {
  int fd = open_directory_at(parent, name, path);
  mark_opaque(fd);
  close(fd);
}

static int remove_visited(const char *path, const struct stat *status, int type, struct FTW *place) {
  (void)status, (void)place;
  return type == FTW_DP ? rmdir(path) : unlink(path);
}

// A later entry of the same name replaces an earlier one, whatever either is.
static void remove_existing(int parent, const char *name, const char *path) {
  if (unlinkat(parent, name, 0) == 0 || errno == ENOENT) return;
  if (errno != EISDIR) entry_failed("replace", path);
  if (fchdir(parent) < 0 || nftw(name, remove_visited, MAX_OPEN_FILES / 2, FTW_DEPTH | FTW_PHYS) != 0 || chdir("/") < 0)
    entry_failed("replace", path);
}

// A directory that replaces a whiteout of its own layer hides what lies below, as the whiteout did.
static void make_directory_at(int parent, const char *name, const char *path) {
  if (mkdirat(parent, name, 0755) == 0) return;
  struct stat existing;
  if (errno != EEXIST || fstatat(parent, name, &existing, AT_SYMLINK_NOFOLLOW) < 0) entry_failed("make", path);
  if (S_ISDIR(existing.st_mode)) return;
  remove_existing(parent, name, path);
  if (mkdirat(parent, name, 0755) < 0) entry_failed("make", path);
  if (is_whiteout(&existing)) mark_opaque_at(parent, name, path);
}

// Makes the directories that `path` goes through and that have no entry of their own (yet): 0755, root's. A symlink on
// the way is followed, as in `lib -> usr/lib` and `lib/x`: the kernel resolves it inside /, wherever it points.
static void make_implied_directories(char *path) {
  for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    struct stat existing;
    bool missing = lstat(path, &existing) < 0;
    if (missing && errno != ENOENT) entry_failed("go through", path);
    if (missing || is_whiteout(&existing)) make_directory_at(AT_FDCWD, path, path);
    *slash = '/';
  }
}

static int open_parent(char *path) {
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
    counts.xattrs_skipped++;
  }
}

static struct timespec modified_time(struct archive_entry *entry) {
  if (!archive_entry_mtime_is_set(entry)) return (struct timespec){.tv_nsec = UTIME_OMIT};
  return (struct timespec){.tv_sec = archive_entry_mtime(entry), .tv_nsec = archive_entry_mtime_nsec(entry)};
}

// In this order: chown clears the set-id bits and the file capabilities, so they come after it.
static void set_attributes(int fd, struct archive_entry *entry, const char *path) {
  if (fchown(fd, archive_entry_uid(entry), archive_entry_gid(entry)) < 0) entry_failed("set the owner of", path);
  if (fchmod(fd, archive_entry_perm(entry)) < 0) entry_failed("set the mode of", path);
  set_xattrs(fd, entry, path);
}

static void set_own_attributes_at(int parent, const char *name, struct archive_entry *entry, const char *path) {
  if (fchownat(parent, name, archive_entry_uid(entry), archive_entry_gid(entry), AT_SYMLINK_NOFOLLOW) < 0)
    entry_failed("set the owner of", path);
  struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, modified_time(entry)};
  if (utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) < 0) entry_failed("set the time of", path);
}

static void write_block(int fd, const char *block, size_t size, int64_t offset, const char *path) {
  while (size > 0) {
    ssize_t written = pwrite(fd, block, size, offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) entry_failed("write", path);
    block += written, offset += written, size -= (size_t)written, counts.bytes += (size_t)written;
  }
}

// Sparse files arrive as blocks with offsets; the length is set last, for a hole at the end.
static void write_content(int fd, struct archive *tar, struct archive_entry *entry, const char *path) {
  const void *block;
  size_t size;
  int64_t offset;
  int status;
  while ((status = archive_read_data_block(tar, &block, &size, &offset)) == ARCHIVE_OK)
    write_block(fd, block, size, offset, path);
  if (status != ARCHIVE_EOF) die(LAYER_REFUSED, "content of %s: %s", path, archive_error_string(tar));
  if (ftruncate(fd, archive_entry_size(entry)) < 0) entry_failed("set the size of", path);
}

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

static void remember_directory_time(struct archive_entry *entry, const char *path) {
  if (directory_time_count == directory_time_room) {
    directory_time_room = directory_time_room ? directory_time_room * 2 : 256;
    directory_times = reallocarray(directory_times, directory_time_room, sizeof *directory_times);
  }
  char *copy = strdup(path);
  if (!directory_times || !copy) die(LAYER_REFUSED, "the layer's directories need more memory than a layer may take");
  directory_times[directory_time_count++] = (struct directory_time){copy, modified_time(entry)};
}

static void set_directory_times(void) {
  for (size_t i = 0; i < directory_time_count; i++) {
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, directory_times[i].modified};
    int fd = open(directory_times[i].path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) continue; // A later entry replaced it by something else, which has its own time.
    if (futimens(fd, times) < 0) entry_failed("set the time of", directory_times[i].path);
    close(fd);
  }
}

static void unpack_directory(int parent, const char *name, struct archive_entry *entry, const char *path) {
  make_directory_at(parent, name, path);
  int fd = open_directory_at(parent, name, path);
  set_attributes(fd, entry, path);
  remember_directory_time(entry, path);
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
  if (mkfifoat(parent, name, archive_entry_perm(entry)) < 0) entry_failed("make", path);
  set_own_attributes_at(parent, name, entry, path);
}

// "./a//b/" becomes "a/b", the root becomes ".". Absolute names lose their leading slash, as with every other tool.
// `..` has no honest use in a layer, and is refused rather than resolved.
static void normalise(const char *raw, char *path) {
  size_t length = 0, depth = 0;
  if (!raw) die(LAYER_REFUSED, "an entry without a name");
  while (*raw) {
    size_t size = strcspn(raw, "/");
    if (size == 2 && memcmp(raw, "..", 2) == 0) die(LAYER_REFUSED, "an entry's name contains '..'");
    if (size > 0 && !(size == 1 && *raw == '.')) {
      if (++depth > options.max_depth) die(LAYER_REFUSED, "an entry is deeper than %lu levels", options.max_depth);
      if (length + size + 1 > options.max_path) die(LAYER_REFUSED, "a name is longer than %lu bytes", options.max_path);
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

// The target is a path from the layer's root. It must be in this layer: hard links do not reach across layers.
static void unpack_hard_link(int parent, const char *name, struct archive_entry *entry, const char *path) {
  char target[PATH_MAX];
  normalise(archive_entry_hardlink(entry), target);
  if (strcmp(target, path) == 0) return;
  remove_existing(parent, name, path);
  if (linkat(AT_FDCWD, target, parent, name, 0) < 0) entry_failed("link", path);
}

// A whiteout speaks of the layers below only: what this layer itself put there stays.
static void unpack_whiteout(int parent, const char *name, const char *path) {
  if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
    die(LAYER_REFUSED, "a whiteout of nothing: %s", path);
  if (mknodat(parent, name, S_IFCHR, makedev(0, 0)) == 0) return;
  struct stat existing;
  if (errno != EEXIST || fstatat(parent, name, &existing, AT_SYMLINK_NOFOLLOW) < 0) entry_failed("white out", path);
  if (S_ISDIR(existing.st_mode)) mark_opaque_at(parent, name, path);
}

static bool has_prefix(const char *text, const char *prefix) { return strncmp(text, prefix, strlen(prefix)) == 0; }

// overlayfs does not look at the root of a layer for the mark, so there it would silently do nothing.
static void unpack_opaque(int parent, const char *path) {
  if (!strchr(path, '/')) die(LAYER_REFUSED, "the root of the layer is marked opaque, which is not supported");
  mark_opaque(parent);
}

static void unpack_marker(int parent, const char *name, const char *path) {
  if (strcmp(name, OPAQUE_MARKER) == 0) unpack_opaque(parent, path);
  else if (!has_prefix(name, AUFS_PREFIX)) unpack_whiteout(parent, name + strlen(WHITEOUT_PREFIX), path);
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
    case AE_IFBLK: counts.devices_skipped++; return;
    default: die(LAYER_REFUSED, "%s has a type that no layer may have", path);
  }
}

static void check_owner(struct archive_entry *entry, const char *path) {
  int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);
  if (uid < 0 || uid >= ID_COUNT || gid < 0 || gid >= ID_COUNT)
    die(LAYER_REFUSED, "owner %ld:%ld of %s is outside 0 to %u", uid, gid, path, ID_COUNT - 1);
}

// Directories below a `.wh.` name are metadata of AUFS, which only ever had a meaning for AUFS.
static bool is_inside_marker(const char *path) {
  const char *marker = has_prefix(path, WHITEOUT_PREFIX) ? path : strstr(path, "/.wh.");
  return marker && strchr(marker + 1, '/');
}

static void unpack_entry(struct archive *tar, struct archive_entry *entry) {
  char path[PATH_MAX];
  if (++counts.entries > options.max_entries) die(LAYER_REFUSED, "more than %lu entries", options.max_entries);
  normalise(archive_entry_pathname(entry), path);
  if (is_inside_marker(path)) return;
  check_owner(entry, path);
  int parent = open_parent(path);
  if (parent < 0) entry_failed("go through", path);
  const char *slash = strrchr(path, '/');
  const char *name = slash ? slash + 1 : path;
  if (strcmp(path, ".") == 0 && archive_entry_filetype(entry) != AE_IFDIR)
    die(LAYER_REFUSED, "the root of the layer is not a directory");
  if (has_prefix(name, WHITEOUT_PREFIX)) unpack_marker(parent, name, path);
  else unpack_object(parent, name, tar, entry, path);
  close(parent);
}

// Counts what it hands on: the stream's length bounds the disk space and the time that a layer can take.
static la_ssize_t read_stream(struct archive *tar, void *context, const void **block) {
  (void)tar, (void)context;
  static char buffer[READ_BYTES];
  static uint64_t total;
  ssize_t size;
  do size = read(STDIN_FILENO, buffer, sizeof buffer);
  while (size < 0 && errno == EINTR);
  if (size < 0) host_failed("reading the layer");
  if ((total += (size_t)size) > options.max_bytes) die(LAYER_REFUSED, "more than %lu bytes", options.max_bytes);
  *block = buffer;
  return size;
}

static struct archive *open_tar(void) {
  struct archive *tar = archive_read_new();
  // A stream of no bytes at all is a layer that changes nothing.
  if (!tar || archive_read_support_format_tar(tar) != ARCHIVE_OK ||
      archive_read_support_format_empty(tar) != ARCHIVE_OK)
    die(HOST_FAILED, "cannot set up the tar reader");
  if (archive_read_open(tar, NULL, NULL, read_stream, NULL) != ARCHIVE_OK)
    die(LAYER_REFUSED, "not a tar stream: %s", archive_error_string(tar));
  return tar;
}

// A warning is about a name's character set; the bytes of the name are taken as they are.
static void unpack_all(void) {
  struct archive *tar = open_tar();
  struct archive_entry *entry;
  int status;
  while ((status = archive_read_next_header(tar, &entry)) == ARCHIVE_OK || status == ARCHIVE_WARN)
    unpack_entry(tar, entry);
  if (status != ARCHIVE_EOF) die(LAYER_REFUSED, "not a valid tar stream: %s", archive_error_string(tar));
  set_directory_times();
  const void *rest;
  while (read_stream(tar, NULL, &rest) > 0) {} // The padding is part of what the caller hashes.
}

static _Noreturn void be_child(int socket) {
  parent_socket = socket;
  wait_for_go(socket);
  confine(socket);
  unpack_all();
  dprintf(STDOUT_FILENO, "{\"entries\":%lu,\"bytes\":%lu,\"devicesSkipped\":%lu,\"xattrsSkipped\":%lu}\n",
          counts.entries, counts.bytes, counts.devices_skipped, counts.xattrs_skipped);
  _exit(DONE);
}

// ---- The parent ---------------------------------------------------------------------------------------------------

static void write_id_map(pid_t child, const char *name) {
  char path[64], map[64];
  snprintf(path, sizeof path, "/proc/%d/%s", child, name);
  int size = snprintf(map, sizeof map, "0 %lu %u\n", options.uid_base, ID_COUNT);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, map, (size_t)size) != size) host_failed("mapping the owners");
  close(fd);
}

// The child can only send what it could open, and it could open nothing outside DIR; the check is for the day that this
// is wrong.
static void serve_opaque_requests(int socket, int directory) {
  struct stat root, sent;
  if (fstat(directory, &root) < 0) host_failed("looking at the directory");
  for (int fd; (fd = receive_fd(socket)) >= 0; close(fd)) {
    if (fstat(fd, &sent) < 0 || !S_ISDIR(sent.st_mode) || sent.st_dev != root.st_dev)
      die(LAYER_REFUSED, "the unpacking process sent an invalid request");
    if (fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0) < 0) host_failed("marking a directory opaque");
    send_go(socket);
  }
}

// A crash of the parser is the layer's doing; a kill came from the host (out of memory, or an operator).
static int exit_status_of(pid_t child) {
  int status;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) host_failed("waiting for the unpacking process");
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  int killer = WTERMSIG(status);
  die(killer == SIGKILL ? HOST_FAILED : LAYER_REFUSED, "the unpacking process was killed by signal %d", killer);
}

static int prepare_directory(void) {
  int fd = open(options.directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) host_failed("opening the directory");
  if (fchown(fd, (uid_t)options.uid_base, (gid_t)options.uid_base) < 0) host_failed("giving the directory away");
  if (fchmod(fd, 0755) < 0 || fchdir(fd) < 0) host_failed("entering the directory");
  return fd;
}

// Of the parent's descriptors the child keeps the standard three and its end of the socket.
static void keep_only(int socket) {
  if (dup2(socket, 3) < 0 || close_range(4, ~0u, 0) < 0) host_failed("closing descriptors");
}

static pid_t clone_child(int sockets[2]) {
  const unsigned long namespaces =
      CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWCGROUP;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0) host_failed("making a socket pair");
  pid_t child = (pid_t)syscall(SYS_clone, namespaces | SIGCHLD, NULL, NULL, NULL, NULL);
  if (child < 0) host_failed("making namespaces");
  if (child == 0) {
    keep_only(sockets[1]);
    be_child(3);
  }
  close(sockets[1]);
  return child;
}

static uint64_t number(const char *text, uint64_t least, uint64_t most) {
  char *end;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  if (errno || *end || end == text || *text == '-' || value < least || value > most)
    die(WRONG_USAGE, "%s is not a number from %lu to %lu", text, least, most);
  return value;
}

static void read_options(int argc, char **argv) {
  static const struct option known[] = {
      {"uid-base", required_argument, NULL, 'u'},  {"max-entries", required_argument, NULL, 'e'},
      {"max-bytes", required_argument, NULL, 'b'}, {"max-path", required_argument, NULL, 'p'},
      {"max-depth", required_argument, NULL, 'd'}, {0}};
  for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
    switch (option) {
      // Below the size of a range, the container's users would be users of the host.
      case 'u': options.uid_base = number(optarg, ID_COUNT, UINT32_MAX - ID_COUNT - 1); break;
      case 'e': options.max_entries = number(optarg, 1, INT64_MAX); break;
      case 'b': options.max_bytes = number(optarg, 1, INT64_MAX); break;
      case 'p': options.max_path = number(optarg, 1, PATH_MAX - 2); break;
      case 'd': options.max_depth = number(optarg, 1, PATH_MAX); break;
      default: _exit(WRONG_USAGE); // getopt has said what is wrong.
    }
  }
  if (optind != argc - 1 || options.uid_base == 0)
    die(WRONG_USAGE, "usage: mayfly-unpack DIR --uid-base N [--max-...]");
  options.directory = argv[optind];
}

int main(int argc, char **argv) {
  read_options(argc, argv);
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) host_failed("tying this process to its caller");
  int directory = prepare_directory();
  int sockets[2];
  pid_t child = clone_child(sockets);
  write_id_map(child, "uid_map");
  write_id_map(child, "gid_map");
  send_go(sockets[0]);
  serve_opaque_requests(sockets[0], directory);
  int status = exit_status_of(child);
  if (status == DONE && syncfs(directory) < 0) host_failed("flushing the file system");
  return status;
}
