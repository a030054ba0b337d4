// The processes, the pipes between them, and how all of it ends.

#include "pipeline.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attributes.h"
#include "confine.h"
#include "content.h"
#include "die.h"
#include "entries.h"
#include "place.h"
#include "options.h"
#include "passage.h"
#include "request.h"
#include "stream.h"

// The most that the kernel gives anybody: the processes wake each other seldom.
#define PIPE_BYTES (1 << 20)
// More than any file that somebody means to ship grows when it is decompressed, and less than a bomb. Below so many bytes nobody counts.
#define MAX_RATIO 200u
#define RATIO_FREE_BYTES (1ull << 30)
// Of the user namespace's range: the one that owns no file of a layer that anybody means to ship.
#define NOBODY 65534u

struct pipe_ends { int from, to; };

// What the child has counted. It may have been taken over by the layer: these are numbers, and no more is believed.
struct report { uint64_t entries, bytes, disk_bytes, devices_skipped, xattrs_skipped, is_root_opaque; };

static struct passage blob = {.copy = -1}, tar = {.copy = -1};

static struct pipe_ends make_pipe(void) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) host_failed("making a pipe");
  fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES); // Where it may not be larger, it works all the same.
  return (struct pipe_ends){.from = ends[0], .to = ends[1]};
}

static void check_blob(uint64_t bytes) {
  if (bytes > options.max_blob_bytes)
    die(BLOB_TOO_LONG, "the blob has more than %" PRIu64 " bytes", options.max_blob_bytes);
}

static void check_tar(uint64_t bytes) {
  if (bytes > options.max_bytes) die(LAYER_REFUSED, "more than %" PRIu64 " bytes", options.max_bytes);
  if (bytes > RATIO_FREE_BYTES && bytes / MAX_RATIO > atomic_load(&blob.bytes))
    die(LAYER_REFUSED, "more than %u times as many bytes as the blob has", MAX_RATIO);
}

static void check_plain(uint64_t bytes) {
  check_blob(bytes);
  check_tar(bytes);
}

// Of the parent's descriptors a child keeps stderr and these, as its first: -1 for one that it does not have.
static void keep_only(int in, int out, int socket) {
  if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || (socket >= 0 && dup2(socket, 3) < 0)) host_failed("arranging descriptors");
  if (close_range(socket < 0 ? 3 : 4, ~0u, 0) < 0) host_failed("closing descriptors");
}

static _Noreturn void be_child(int socket) {
  parent_socket = socket;
  wait_for_go(socket);
  confine(socket);
  unpack_stream();
  struct report report = {counts.entries, content_bytes, disk_bytes, counts.devices_skipped, xattrs_skipped, is_root_opaque};
  if (write(STDOUT_FILENO, &report, sizeof report) != sizeof report) _exit(HOST_FAILED); // The parent has ended, and said why.
  _exit(DONE);
}

static pid_t clone_child(int tar_from, int report_to, int *socket) {
  const unsigned long namespaces =
      CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWCGROUP;
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0) host_failed("making a socket pair");
  pid_t child = (pid_t)syscall(SYS_clone, namespaces | SIGCHLD, NULL, NULL, NULL, NULL);
  if (child < 0) host_failed("making namespaces");
  if (child == 0) {
    keep_only(tar_from, report_to, sockets[1]);
    be_child(3);
  }
  close(sockets[1]);
  *socket = sockets[0];
  return child;
}

static pid_t fork_inflater(int from, int to) {
  pid_t child = fork();
  if (child < 0) host_failed("starting the decompressor");
  if (child == 0) {
    keep_only(from, to, -1);
    be_inflater(options.compression, (uint32_t)options.uid_base + NOBODY);
  }
  return child;
}

static void write_id_map(pid_t child, const char *name) {
  char path[64], map[64];
  snprintf(path, sizeof path, "/proc/%d/%s", child, name);
  int size = snprintf(map, sizeof map, "0 %lu %u\n", options.uid_base, ID_COUNT);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, map, (size_t)size) != size) host_failed("mapping the owners");
  close(fd);
}

// A crash of a parser is the layer's doing; a kill came from the host (out of memory, or an operator).
static int exit_status_of(pid_t child, const char *who) {
  int status;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) host_failed("waiting for a process");
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  int killer = WTERMSIG(status);
  dprintf(STDERR_FILENO, "the %s was killed by signal %d\n", who, killer);
  return killer == SIGKILL ? HOST_FAILED : LAYER_REFUSED;
}

// Starts what stands between the blob on stdin and the tar in `tar_to`. 0 if nothing has to be decompressed.
static pid_t start_inflating(int copy, int tar_to) {
  blob = (struct passage){.from = STDIN_FILENO, .to = tar_to, .copy = copy, .check = check_plain};
  if (options.compression == COMPRESSION_NONE) return 0;
  struct pipe_ends in = make_pipe(), out = make_pipe();
  pid_t inflater = fork_inflater(in.from, out.to);
  close(in.from);
  close(out.to);
  blob.to = in.to;
  blob.check = check_blob;
  tar = (struct passage){.from = out.from, .to = tar_to, .copy = -1, .check = check_tar};
  return inflater;
}

static void print_report(const struct report *report) {
  const struct passage *inside = options.compression == COMPRESSION_NONE ? &blob : &tar;
  printf("{\"blob\":\"%s\",\"blobBytes\":%" PRIu64 ",\"tar\":\"%s\",\"tarBytes\":%" PRIu64 ",", blob.sha256,
         atomic_load(&blob.bytes), inside->sha256, atomic_load(&inside->bytes));
  printf("\"entries\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"diskBytes\":%" PRIu64 ",\"devicesSkipped\":%" PRIu64 ",\"xattrsSkipped\":%" PRIu64
         ",\"opaqueRoot\":%s}\n",
         report->entries, report->bytes, report->disk_bytes, report->devices_skipped, report->xattrs_skipped,
         report->is_root_opaque ? "true" : "false");
  fflush(stdout);
}

// The decompressor fails first when both fail, and what reads from it then finds its tar cut short. What the host could not do is told
// at once: the rest of the blob may take long to come, and the threads that would hash it end with the program.
static int join(pid_t child, pid_t inflater) {
  int status = exit_status_of(child, "unpacking process");
  if (status == HOST_FAILED) _exit(HOST_FAILED);
  int inflated = inflater == 0 ? DONE : exit_status_of(inflater, "decompressor");
  if (inflated == HOST_FAILED) _exit(HOST_FAILED);
  await_passage(&blob);
  if (inflater != 0) await_passage(&tar);
  return inflated == DONE || inflated == NOBODY_READS ? status : inflated;
}

int unpack(int directory, int copy) {
  struct pipe_ends files = make_pipe(), reports = make_pipe();
  int socket;
  pid_t child = clone_child(files.from, reports.to, &socket);
  close(files.from);
  close(reports.to);
  pid_t inflater = start_inflating(copy, files.to);
  write_id_map(child, "uid_map");
  write_id_map(child, "gid_map");
  send_go(socket);
  start_passage(&blob);
  if (inflater != 0) start_passage(&tar);
  serve_opaque_requests(socket, directory);
  int status = join(child, inflater);
  struct report report = {0};
  if (status == DONE && read(reports.from, &report, sizeof report) != sizeof report) host_failed("reading the report");
  print_report(&report);
  return status;
}
