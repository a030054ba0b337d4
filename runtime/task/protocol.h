// What the three processes of one run tell each other.
//
//   worker (Node) ◀──── control, fd 3: lines of text ────▶ mayfly-shim ◀── reports (init/report.h) ──────── mayfly-init
//                 ◀──── fds 0, 1, 2: bytes ──────────────▶             ◀── pipes: bytes ───────────────── program
//                 ◀──── artifacts, fd 4: bytes ───────────             ◀── socket: a tar (init/artifacts.h) ─ mayfly-init
//
// mayfly-shim: one a run, on the host, as root. Parent of the container, so that it alone gets the kernel's word on how
//              it ended; kills it when its deadline passes or the worker's end of the control socket closes.
// mayfly-init: PID 1 of the container, as the container's root. Starts the program, reaps, passes signals on.
// program:     what the user asked for. It can reach neither of the channels.
//
// Control, worker → shim                      Control, shim → worker
//   deadline MS   alive for MS more              created            the container exists, nothing of the image has run
//   signal N      to the program                 started            the program has been executed
//   resize R C    of its terminal, if it has one exited code N      it ended by itself
//   kill          SIGKILL to everything          exited signal N    it was killed by signal N
//   release       facts are read: remove it      collecting         the program has ended; artifacts come, then exited
//                                                failed STAGE TEXT  it could not be made or started
//                                                released           container and mounts are gone; the last line
//
// The order of the shim's lines is created, started, collecting (if artifacts are wanted), exited, released; `failed` takes the place of created, started or
// exited and is followed by released alone.

#pragma once
#include "../init/report.h"

enum { CONTROL_FD = 3, ARTIFACTS_FD = 4 };
