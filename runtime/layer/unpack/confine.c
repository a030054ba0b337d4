// The process ends up as root of a user namespace in which the layer's directory is all there is.

#include "confine.h"
#include "die.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// What the parser may allocate: the modification times of a million directories fit, a header bomb does not.
#define MEMORY_BYTES (512ul << 20)

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

void confine(int socket) {
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

void become_nobody(uint32_t user, uint64_t memory) {
  if (setgroups(0, NULL) < 0 || setresgid(user, user, user) < 0 || setresuid(user, user, user) < 0)
    host_failed("becoming nobody");
  // Only now, as above. A parent that died before leaves an end of input, which ends this process too.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) host_failed("tying this process to its parent");
  limit(RLIMIT_AS, memory);
  limit(RLIMIT_NOFILE, 3);
  limit(RLIMIT_CORE, 0);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) host_failed("forbidding new privileges");
}
