// Files that a run leaves: sent by PID 1 when its program has ended, as a tar (POSIX ustar, with a pax header where a name needs one).
//
//   the program ends → REPORT_ARTIFACTS and a socket → REPORT_EXITED → every other process is killed → entries → PID 1 ends
//
//   out/report.json   a regular file that a pattern names, without its leading slash: mode, mtime, owner 0
//   /void             the entry before it could not be read to its end, and is filled with zeros: it counts for nothing. At most 16 of them are heard
//   /left-out         the last entry: "FILES BYTES MORE\n", of what patterns name and is not here; MORE is 1 if there may be more than that;
//                     BYTES has 15 digits at most
//
// One idea: it is done inside the container, where nothing else lives any more, so that nothing changes under it, and what a path leads
// to is nothing that the program could not reach. No symlink is followed, no other file system is entered (/proc, /sys, /dev), and
// nothing is opened but directories and regular files.

#pragma once
#include <stdint.h>

enum {
    MAX_ARTIFACT_PATTERNS = 32,
    MAX_ARTIFACT_COMPONENTS = 63, // Of a pattern. How far each is matched is a bit of 64, of which one says: all of it.
    MAX_ARTIFACT_PATH = 1024,     // Of a path, with its NUL.
    ARTIFACTS_CLOCK_MS = 20000,   // After that no more files are begun. The worker's own clock is longer.
};

struct artifacts {
    char **patterns;    // Absolute: *, ? and [...] within a name, ** for any number of directories. Cut into names when they are used.
    uint32_t count;     // 0: none are wanted, and there is no report of them.
    uint32_t max_files;
    uint64_t max_bytes; // Of all files together. One that does not fit is left out whole, and a smaller one after it may be in.
};

// Walks the root file system and writes the tar to SOCKET. Stops early where nobody reads it. To be called when nothing else runs.
void send_artifacts(const struct artifacts *wanted, int socket);
