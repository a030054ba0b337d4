// Docker: its command line, against a daemon of our own with nothing of the machine's.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../../infra/command.ts";
import type { Workshop } from "../workshop.ts";
import { type Contender, commandContender, findProgram } from "./contender.ts";

const READY_MS = 30_000;
const STOP_MS = 20_000;

export interface Daemon {
  readonly version: string;
  stop(): Promise<void>;
}

/** A daemon, and the beginning of each command that speaks to it. */
export async function startDocker(workshop: Workshop): Promise<Daemon & { docker: readonly [string, ...string[]] }> {
  const [client, server] = [findProgram("docker"), findProgram("dockerd")];
  const room = await workshop.room("docker");
  const socket = `unix://${room}/docker.sock`;
  await writeFile(join(room, "config.json"), "{}"); // Else it would read the machine's.
  const docker = [client, "--host", socket] as const;
  const daemon = workshop.place.launch("dockerd", [server, ...daemonFlags(room, socket)], {
    PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
    HOME: room,
  });
  await daemon.answers(async () => void (await run([...docker, "version"])), READY_MS);
  const version = (await run([...docker, "version", "--format", "{{.Server.Version}}"])).trim();
  return { docker, version, stop: () => daemon.stop(STOP_MS) };
}

export async function openDocker(workshop: Workshop): Promise<Contender> {
  const { docker, version, stop } = await startDocker(workshop);
  return commandContender({
    note: `docker run --rm --network none, Docker ${version}; no user namespace, no limits`,
    maxParallel: 32,
    argv: ({ tag, argv }) => [
      ...[...docker, "run", "--rm", "--network", "none"],
      ...["--cgroup-parent", `/${workshop.cgroup}`, tag, ...argv],
    ],
    load: ({ archive }) => run([...docker, "load", "--input", archive]),
    close: stop,
  });
}

function daemonFlags(room: string, socket: string): string[] {
  return [
    ...["--host", socket],
    ...["--data-root", join(room, "data")],
    ...["--exec-root", join(room, "exec")],
    ...["--pidfile", join(room, "docker.pid")],
    ...["--config-file", join(room, "config.json")],
    // Nothing of the host's network is touched; the containers have none.
    ...["--bridge", "none", "--iptables=false", "--ip6tables=false"],
    ...["--exec-opt", "native.cgroupdriver=cgroupfs"],
  ];
}
