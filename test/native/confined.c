// Confines a process as mayfly-unpack does, lets it try what a parser that has been taken over would try, and prints for each
// attempt whether it came through, or the error.

#include "../../runtime/layer/unpack/confine.h"
#include "../../runtime/layer/unpack/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *what, long result) {
  int error = errno;
  dprintf(STDOUT_FILENO, "%s: %s\n", what, result < 0 ? strerrorname_np(error) : "done");
}

static void try_everything(void) {
  char *const none[] = {NULL};
  say("make a file", open("/inside", O_WRONLY | O_CREAT, 0600));
  say("read a file of the host", open("/etc/passwd", O_RDONLY));
  say("read by climbing", open("../../../../etc/passwd", O_RDONLY));
  say("read /proc", open("/proc/self/status", O_RDONLY));
  say("open a socket of the internet", socket(AF_INET, SOCK_STREAM, 0));
  say("open a local socket", socket(AF_UNIX, SOCK_STREAM, 0));
  say("run a program", execve("/inside", none, none));
  say("make a process", syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
  say("enter namespaces", unshare(CLONE_NEWUSER | CLONE_NEWNS));
  say("mount", mount("none", "/", "tmpfs", 0, NULL));
  say("change the root", chroot("/"));
  say("trace", ptrace(PTRACE_TRACEME, 0, NULL, NULL));
  say("signal", kill(1, 0));
  say("become another user", setuid(1));
  say("ring", syscall(SYS_io_uring_setup, 1, NULL));
}

static void map(pid_t child, const char *name) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", child, name);
  int fd = open(path, O_WRONLY);
  if (write(fd, "0 200000 65536", 14) != 14) perror(name);
  close(fd);
}

int main(int argc, char **argv) {
  int sockets[2];
  char go;
  if (argc != 2 || chdir(argv[1]) < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets) < 0) return 2;
  pid_t child = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
  if (child == 0) {
    if (recv(sockets[1], &go, 1, 0) != 1) _exit(1);
    close(sockets[0]);
    confine(sockets[1]);
    allow_only_unpacking();
    try_everything();
    _exit(0);
  }
  map(child, "uid_map"), map(child, "gid_map");
  if (send(sockets[0], "g", 1, 0) != 1) return 1;
  int status;
  waitpid(child, &status, 0);
  return status;
}
