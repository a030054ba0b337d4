// Ending badly: one line on stderr that says what is wrong, and an exit status that says whose fault it is.

#pragma once

// NOBODY_READS is said between the processes of this program only: whoever was to read has failed, and has said why.
enum { DONE = 0, HOST_FAILED = 1, WRONG_USAGE = 2, LAYER_REFUSED = 3, NOBODY_READS = 4, BLOB_TOO_LONG = 5 };

// Names in the message may be foreign: they forge no second line and do not play with a terminal.
_Noreturn void die(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Both add what errno says. The second is the layer's fault, unless errno says that the host is short of something.
_Noreturn void host_failed(const char *action);
_Noreturn void entry_failed(const char *action, const char *path);
