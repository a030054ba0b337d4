// mayfly-unpack: unpacks one layer of an image, a blob on stdin, into an empty directory.
//
//   mayfly-unpack DIR --uid-base N [--compression none|gzip|zstd] [--keep FILE] [--max-blob-bytes N]
//                 [--max-entries N] [--max-bytes N] [--max-path N] [--max-depth N]
//
// The one idea: the bytes are foreign, so whatever parses them has no power, and what has power only counts and hashes them.
//
//   stdin ──▶ parent: SHA-256 ──▶ decompressor ──▶ parent: SHA-256 ──▶ child: tar to files
//                  └──▶ FILE       may read, write                      root of DIR, and of
//                                  and compute                          nothing else
//
//   parent: root of the host                        child
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
// FILE, if one was asked for, has the bytes of stdin.
//
// stdout, unless the host failed: {"blob":HEX,"blobBytes":N,"tar":HEX,"tarBytes":N,"entries":N,…}, with the SHA-256 of what came in and of
//   what was in it. The caller compares; after a refusal they tell whether the layer is bad or was spoilt on its way.
//   opaqueRoot: of the layers below, nothing is to be seen; overlayfs has no mark for that, so whoever stacks them leaves them out
// stderr, otherwise: a line that says what is wrong; of several, the first.
// Exit status: 0 done and flushed · 1 the host could not · 2 wrong usage · 3 the layer is invalid or over a limit ·
// 5 the blob is longer than it may be.
// After any other status than 0, DIR and FILE hold rubbish and are the caller's to remove. When the caller dies, so does the
// parent, and when the parent dies, so do the others: nobody goes on writing into DIR.

#include "die.h"
#include "options.h"
#include "pipeline.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

// A tar of a million entries is larger than any image in use; a bomb of empty files is larger still. Directories that are only implied count.
#define DEFAULT_MAX_ENTRIES 1000000u
// Bytes of the tar stream, and again of the blocks that its files take on disk: a sparse one takes more there.
#define DEFAULT_MAX_BYTES (20ull << 30)
#define DEFAULT_MAX_PATH 4000u
#define DEFAULT_MAX_DEPTH 512u

// Runs of other images go on beside a pull, and wait for less than they would to be scheduled.
#define NICENESS 10

struct unpack_options options = {
    .compression = COMPRESSION_NONE,
    .max_blob_bytes = INT64_MAX,
    .max_entries = DEFAULT_MAX_ENTRIES,
    .max_bytes = DEFAULT_MAX_BYTES,
    .max_path = DEFAULT_MAX_PATH,
    .max_depth = DEFAULT_MAX_DEPTH,
};

static int prepare_directory(void) {
  int fd = open(options.directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) host_failed("opening the directory");
  if (fchown(fd, (uid_t)options.uid_base, (gid_t)options.uid_base) < 0) host_failed("giving the directory away");
  if (fchmod(fd, 0755) < 0 || fchdir(fd) < 0) host_failed("entering the directory");
  return fd;
}

// For this process and all that it starts. Where the scheduler groups processes by session (autogroup), niceness counts only inside of
// one, so this is one of its own, and the session is nice as well. What fails here would only have been kinder.
static void step_back(void) {
  setsid();
  setpriority(PRIO_PROCESS, 0, NICENESS);
  int fd = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  dprintf(fd, "%d", NICENESS);
  close(fd);
}

static int open_copy(void) {
  if (!options.keep) return -1;
  int fd = open(options.keep, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) host_failed("making the file for the blob");
  return fd;
}

static uint64_t number(const char *text, uint64_t least, uint64_t most) {
  char *end;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  if (errno || *end || end == text || *text == '-' || value < least || value > most)
    die(WRONG_USAGE, "%s is not a number from %lu to %lu", text, least, most);
  return value;
}

static enum compression compression(const char *name) {
  static const char *const names[] = {"none", "gzip", "zstd"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(name, names[i]) == 0) return (enum compression)i;
  die(WRONG_USAGE, "%s is not a compression: none, gzip, zstd", name);
}

static void read_options(int argc, char **argv) {
  static const struct option known[] = {
      {"uid-base", required_argument, NULL, 'u'},  {"compression", required_argument, NULL, 'c'},
      {"keep", required_argument, NULL, 'k'},      {"max-blob-bytes", required_argument, NULL, 's'},
      {"max-entries", required_argument, NULL, 'e'},
      {"max-bytes", required_argument, NULL, 'b'}, {"max-path", required_argument, NULL, 'p'},
      {"max-depth", required_argument, NULL, 'd'}, {0}};
  for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
    switch (option) {
      // Below the size of a range, the container's users would be users of the host.
      case 'u': options.uid_base = number(optarg, ID_COUNT, UINT32_MAX - ID_COUNT - 1); break;
      case 'c': options.compression = compression(optarg); break;
      case 'k': options.keep = optarg; break;
      case 's': options.max_blob_bytes = number(optarg, 0, INT64_MAX); break;
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
  signal(SIGPIPE, SIG_IGN); // A reader that is gone is an error of write(2), in every process here.
  step_back();
  int copy = open_copy(); // Before the directory is entered: its name may be relative.
  int directory = prepare_directory();
  int status = unpack(directory, copy);
  if (status == DONE && syncfs(directory) < 0) host_failed("flushing the file system");
  return status;
}
