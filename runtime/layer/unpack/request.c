// Passes descriptors from the confined process to its parent, which looks at them before it does anything.

#include "request.h"
#include "die.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

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

void send_go(int socket) {
  char go = 'g';
  if (send(socket, &go, 1, MSG_NOSIGNAL) != 1) host_failed("waking the unpacking process");
}

// A parent that has died says nothing more: then there is nothing left to do either.
void wait_for_go(int socket) {
  char go;
  ssize_t received;
  do received = recv(socket, &go, 1, 0);
  while (received < 0 && errno == EINTR);
  if (received != 1) _exit(HOST_FAILED);
}

void ask_for_opaque(int socket, int directory) {
  send_fd(socket, directory);
  wait_for_go(socket);
}

// The child can only send what it could open, and it could open nothing outside DIR; the check is for the day that this
// is wrong.
void serve_opaque_requests(int socket, int directory) {
  struct stat root, sent;
  if (fstat(directory, &root) < 0) host_failed("looking at the directory");
  for (int fd; (fd = receive_fd(socket)) >= 0; close(fd)) {
    if (fstat(fd, &sent) < 0 || !S_ISDIR(sent.st_mode) || sent.st_dev != root.st_dev)
      die(LAYER_REFUSED, "the unpacking process sent an invalid request");
    if (fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0) < 0) host_failed("marking a directory opaque");
    send_go(socket);
  }
}
