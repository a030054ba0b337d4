// Writes the one line. Names in it are foreign: they must not forge a second line or play with a terminal.

#include "die.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

// Longer ones lose their end, which is a name: the caller keeps no more than the last two kilobytes of what is said here.
enum { LINE_BYTES = 1024, NAME_BYTES = 700 };

_Noreturn void die(int status, const char *format, ...) {
  char line[LINE_BYTES];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line, sizeof line - 1, format, arguments);
  va_end(arguments);
  size_t length = 0;
  for (; line[length]; length++)
    if ((unsigned char)line[length] < ' ' || line[length] == 0x7f) line[length] = '?';
  line[length++] = '\n';
  if (write(STDERR_FILENO, line, length) < 0) {} // Nobody is left to be told.
  _exit(status);
}

// These say that the host is short of something, not that the layer is wrong.
static bool is_fault_of_host(int error) {
  return error == ENOSPC || error == EDQUOT || error == EIO || error == EROFS || error == EMFILE || error == ENFILE || error == ENOMEM;
}

_Noreturn void host_failed(const char *action) { die(HOST_FAILED, "%s: %s", action, strerror(errno)); }

_Noreturn void entry_failed(const char *action, const char *path) {
  die(is_fault_of_host(errno) ? HOST_FAILED : LAYER_REFUSED, "cannot %s %.*s: %s", action, NAME_BYTES, path, strerror(errno));
}
