// Podman: a command without a daemon, with storage of our own.

import { join } from "node:path";
import { run } from "../../../infra/command.ts";
import type { Workshop } from "../workshop.ts";
import { type Contender, commandContender, findProgram } from "./contender.ts";

export async function openPodman(workshop: Workshop): Promise<Contender> {
  const program = findProgram("podman");
  const room = await workshop.room("podman");
  const podman = [
    program,
    ...["--root", join(room, "root"), "--runroot", join(room, "run"), "--tmpdir", join(room, "tmp")],
    // There may be no systemd to ask for cgroups or to log to, and the older crun refuses hybrid cgroups.
    ...["--cgroup-manager", "cgroupfs", "--events-backend", "none", "--runtime", findProgram("runc")],
  ] as const;
  const version = /version (\S+)/.exec(await run([program, "--version"]))?.[1] ?? "";
  return commandContender({
    note: `podman run --rm --network none, Podman ${version} on runc; no user namespace, no limits`,
    maxParallel: 8,
    argv: ({ tag, argv }) => [
      ...podman,
      ...["run", "--rm", "--network", "none", "--cgroup-parent", `/${workshop.cgroup}`, "--log-driver", "none"],
      // Its own defaults are above what a root without CAP_SYS_RESOURCE may set.
      ...["--ulimit", "nofile=1024:4096", "--ulimit", "nproc=4096:4096"],
      ...[tag, ...argv],
    ],
    // A home of its own: no configuration, no credentials of the caller's.
    env: { HOME: room },
    load: ({ archive }) => run([...podman, "load", "--quiet", "--input", archive]),
  });
}
