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
// stdout, on success: {"entries":N,"bytes":N,"devicesSkipped":N,"xattrsSkipped":N,"opaqueRoot":BOOLEAN}
//   opaqueRoot: of the layers below, nothing is to be seen; overlayfs has no mark for that, so whoever stacks them leaves them out
// stderr, otherwise: one line that says what is wrong.
// Exit status: 0 done and flushed · 1 the host could not · 2 wrong usage · 3 the layer is invalid or over a limit.
// After any other status than 0, DIR holds rubbish and is the caller's to remove. When the caller dies, so does the
// parent, and when the parent dies, so does the child: nobody goes on writing into DIR.
//
// What it does not do: decompress, verify digests, rename. The caller does, and keeps DIR only if everything holds.

#include "confine.h"
#include "content.h"
#include "die.h"
#include "attributes.h"
#include "entries.h"
#include "options.h"
#include "place.h"
#include "request.h"
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// A tar of a million entries is larger than any image in use; a bomb of empty files is larger still.
#define DEFAULT_MAX_ENTRIES 1000000u
// Bytes of the tar stream, which bounds what is written: even sparse files cost the stream what they cost the disk.
#define DEFAULT_MAX_BYTES (20ull << 30)
#define DEFAULT_MAX_PATH 4000u
#define DEFAULT_MAX_DEPTH 512u

struct unpack_options options = {
    .max_entries = DEFAULT_MAX_ENTRIES,
    .max_bytes = DEFAULT_MAX_BYTES,
    .max_path = DEFAULT_MAX_PATH,
    .max_depth = DEFAULT_MAX_DEPTH,
};

static _Noreturn void be_child(int socket) {
  parent_socket = socket;
  wait_for_go(socket);
  confine(socket);
  unpack_stream();
  dprintf(STDOUT_FILENO, "{\"entries\":%lu,\"bytes\":%lu,\"devicesSkipped\":%lu,\"xattrsSkipped\":%lu,\"opaqueRoot\":%s}\n",
          counts.entries, content_bytes, counts.devices_skipped, xattrs_skipped, is_root_opaque ? "true" : "false");
  _exit(DONE);
}

static void write_id_map(pid_t child, const char *name) {
  char path[64], map[64];
  snprintf(path, sizeof path, "/proc/%d/%s", child, name);
  int size = snprintf(map, sizeof map, "0 %lu %u\n", options.uid_base, ID_COUNT);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, map, (size_t)size) != size) host_failed("mapping the owners");
  close(fd);
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
