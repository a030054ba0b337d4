// An allow-list. What is not on it is not made and fails with EPERM, so that the layer is refused with a word of what failed, instead
// of a process that is gone.

#include "filter.h"
#include "die.h"

#include <errno.h>
#include <seccomp.h>
#include <stddef.h>

static const int ALLOWED[] = {
    // The stream, and content.
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(pwrite64), SCMP_SYS(ftruncate), SCMP_SYS(sync_file_range), SCMP_SYS(lseek), SCMP_SYS(close),
    // Names: to make, to look at, to remove.
    SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(mkdir), SCMP_SYS(mkdirat), SCMP_SYS(mknod), SCMP_SYS(mknodat),
    SCMP_SYS(symlinkat), SCMP_SYS(link), SCMP_SYS(linkat), SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(rmdir),
    SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(fstatfs),
    SCMP_SYS(getdents64), SCMP_SYS(chdir), SCMP_SYS(fchdir), SCMP_SYS(getcwd),
    // Attributes.
    SCMP_SYS(chown), SCMP_SYS(fchown), SCMP_SYS(fchownat), SCMP_SYS(chmod), SCMP_SYS(fchmod), SCMP_SYS(fchmodat),
    SCMP_SYS(fsetxattr), SCMP_SYS(utimensat),
    // The request to the parent, over the socket that is there.
    SCMP_SYS(sendmsg), SCMP_SYS(recvfrom),
    // The C library's own: memory, locks, directory streams, and its ends. As the first process of its namespace it can signal itself only.
    SCMP_SYS(brk), SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(fcntl),
    SCMP_SYS(futex), SCMP_SYS(getrandom), SCMP_SYS(rt_sigreturn), SCMP_SYS(restart_syscall), SCMP_SYS(exit),
    SCMP_SYS(exit_group), SCMP_SYS(writev), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction), SCMP_SYS(getpid),
    SCMP_SYS(gettid), SCMP_SYS(tgkill),
};

void allow_only_unpacking(void) {
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
  if (!filter) die(HOST_FAILED, "no memory for the filter of system calls");
  for (size_t i = 0; i < sizeof ALLOWED / sizeof *ALLOWED; i++) {
    // A negative number is a call that this machine does not have.
    if (ALLOWED[i] >= 0 && seccomp_rule_add(filter, SCMP_ACT_ALLOW, ALLOWED[i], 0) < 0)
      die(HOST_FAILED, "cannot allow system call %d", ALLOWED[i]);
  }
  int error = seccomp_load(filter);
  if (error < 0) errno = -error, host_failed("loading the filter of system calls");
  seccomp_release(filter);
}
