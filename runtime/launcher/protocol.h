// What a worker and the launcher tell each other: frames over a Unix stream socket, one connection a sandbox at a time.
//
//   worker (Node) ◀── frames ──▶ mayfly-launcher ◀── datagrams (jobs.h) ──▶ makers
//                                       │ pipes, pidfd, struct report (init/report.h)
//                                       ▼
//                                mayfly-blank, PID 1 ──▶ program
//
// mayfly-launcher  one a host, root. Parent of every PID 1; keeps deadlines, carries bytes, reads the facts. Never blocks.
// makers           its children, root. Do what may block: make blanks, furnish them with an image, remove them.
// mayfly-blank     PID 1 of a sandbox, made ahead of need, already unprivileged. Waits for a program, starts it, reaps.
//
// The life of a connection. Closing it at any point kills its sandbox and removes it.
//
//   worker                    launcher
//   PREPARE ────────────────▶                       optional: take a blank before the run is known in full
//           ◀──────────────── PREPARED
//   RUN     ────────────────▶                       takes a blank if there was no PREPARE; image, limits, program
//           ◀──────────────── STARTED               the program has been executed
//   STDIN…  ────────────────▶                       as much as CREDIT of stream 0 allows
//   CREDIT  ────────────────▶                       the worker has room for more of stream 1, 2 or 3
//           ◀──────────────── OUTPUT… END           stream 1 and 2, each to its end
//           ◀──────────────── COLLECTING            only if it has artifacts: the program has ended; they are stream 3, to its end
//           ◀──────────────── EXITED                PID 1 is gone, the cgroup has been read
//   RELEASE ────────────────▶
//           ◀──────────────── RELEASED              cgroup, mounts and namespaces are gone
//   PREPARE or RUN, and so on: the connection may be used for another sandbox
//
//   At any time: DEADLINE, KILL. While the program runs: SIGNAL, RESIZE. FAILED takes the place of PREPARED, STARTED or
//   EXITED; only RELEASE is of use after it, and nothing between RELEASE and RELEASED. STATUS and RESET are asked on connections without a sandbox.
//
// Output and input are bounded by credit, not by the socket: a frame is only sent when its receiver has said that there is
// room, so that a stream nobody reads holds up neither the other nor the control frames. All integers are little-endian. A frame
// that is too long, cut, of an unknown type or out of order closes that connection, and no other.
//
// runtime/launcher/protocol.ts mirrors this file, and a test holds the two together.

#pragma once
#include <stdint.h>

enum {
    PROTOCOL_VERSION = 3,
    FRAME_HEADER_BYTES = 8,
    MAX_FRAME_BYTES = 1048576, // Of a payload. Arguments and environment are far smaller by the worker's own bounds.
    MAX_CHUNK_BYTES = 65536,   // Of STDIN and OUTPUT: what a pipe holds.
    STREAM_WINDOW_BYTES = 262144, // The credit each stream begins with.
    MAX_LAYERS = 500,          // overlayfs' own limit.
    MAX_STRINGS = 8192,        // Of arguments and environment together.
    MAX_PATTERNS = 32,         // Of artifacts.
    MAX_ID_BYTES = 128,
    MAX_HOSTNAME_BYTES = 63,   // The kernel's own, less its NUL.
};

struct frame_header {
    uint32_t length; // Of the payload.
    uint8_t type;
    uint8_t stream;  // Of STDIN, OUTPUT, END and CREDIT: 0, 1, 2, or 3 (artifacts, a tar as init/artifacts.h has it). Else 0.
    uint16_t zero;
};

enum frame_type {
    // worker → launcher                 payload
    FRAME_PREPARE = 1,  //               u64 milliseconds until the deadline
    FRAME_RUN = 2,      //               struct run_header and its strings
    FRAME_STDIN = 3,    //               bytes; none: end of file
    FRAME_CREDIT = 4,   // (both ways)   u32 bytes more
    FRAME_DEADLINE = 5, //               u64 milliseconds from now
    FRAME_SIGNAL = 6,   //               u32 signal number
    FRAME_RESIZE = 7,   //               u16 rows, u16 columns
    FRAME_KILL = 8,     //               none
    FRAME_RELEASE = 9,  //               none
    FRAME_STATUS = 10,  //               none
    FRAME_RESET = 11,   //               none: kill and remove every sandbox of every connection

    // launcher → worker
    FRAME_PREPARED = 32,  //             none
    FRAME_STARTED = 33,   //             struct started
    FRAME_OUTPUT = 34,    //             bytes
    FRAME_END = 35,       //             none: nobody holds the stream any more
    FRAME_EXITED = 36,    //             struct exited
    FRAME_FAILED = 37,    //             stage, NUL, text
    FRAME_RELEASED = 38,  //             none, or why it could not be removed
    FRAME_STATUS_IS = 39, //             struct status, then the names of the cgroups of blanks, ready or being made, each with its NUL
    FRAME_RESET_DONE = 40, //            ids of what was removed, each with its NUL
    FRAME_COLLECTING = 41, //            none
};

enum run_flag {
    RUN_KEEP_HOME = 1, // HOME is in the environment.
    RUN_FILES = 2,     // Files come first on stdin (init/files.h).
};

// Followed by NUL-terminated strings, in this order: id, hostname, layers (the topmost first), user, workdir, arguments,
// environment, patterns of artifacts. Nothing may follow them.
struct run_header {
    uint64_t deadline_ms;  // From now; 0 leaves what PREPARE has set.
    uint64_t memory_bytes;
    uint64_t disk_bytes;
    uint32_t cpu_quota_us; // Of each 100 ms.
    uint32_t pids;         // Of the program and its children; the init is counted besides.
    uint16_t rows, columns; // Both 0: no terminal.
    uint16_t layers;
    uint16_t flags;        // enum run_flag.
    uint32_t arguments;
    uint32_t environment;
    uint64_t artifact_bytes; // Of all artifacts at the most.
    uint32_t artifact_files;
    uint32_t patterns;       // 0: no artifacts, and no stream of them.
};

struct started {
    uint64_t furnish_us; // From the RUN frame to a blank that has its image.
    uint64_t start_us;   // From there to the program's exec, as the blank has it.
    uint32_t was_blank;  // 1 if a blank was ready.
    uint32_t zero;
};

struct exited {
    uint32_t wait_status;  // Of the program, as wait(2) has it.
    uint32_t facts;        // 1 if the figures below could be read.
    uint64_t cpu_us;
    uint64_t throttled_us;
    uint64_t peak_memory_bytes; // UINT64_MAX where the kernel does not count it.
    uint64_t oom_kills;
    uint64_t user_us, system_us; // rusage of PID 1 and all it has waited for.
};

struct status {
    uint32_t protocol_version;
    uint32_t cgroup_version; // 1 (also hybrid) or 2.
    uint32_t blanks;         // Ready.
    uint32_t target;         // As many as are to be kept ready now.
    uint32_t sandboxes;      // Alive.
    uint32_t leftovers;      // Cgroups of an earlier life, removed at start.
};
