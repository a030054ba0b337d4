// containerd: its own client `ctr`, against a daemon of our own.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../../infra/command.ts";
import type { Workshop } from "../workshop.ts";
import { type Contender, commandContender, findProgram } from "./contender.ts";
import type { Daemon } from "./docker.ts";

const READY_MS = 30_000;
const STOP_MS = 20_000;

/** A daemon, and the beginning of each command that speaks to it. */
export async function startContainerd(workshop: Workshop): Promise<Daemon & { ctr: readonly [string, ...string[]] }> {
  const [client, server] = [findProgram("ctr"), findProgram("containerd")];
  const room = await workshop.room("containerd");
  const socket = join(room, "containerd.sock");
  const configFile = join(room, "config.toml");
  await writeFile(configFile, configOf(room, socket));
  // Its containers' cgroups are named after its namespace.
  const ctr = [client, "--address", socket, "--namespace", workshop.cgroup] as const;
  const daemon = workshop.place.launch("containerd", [server, "--config", configFile], {
    PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
    HOME: room,
  });
  await daemon.answers(async () => void (await run([...ctr, "version"])), READY_MS);
  const version = / v?(\d\S*)/.exec(await run([server, "--version"]))?.[1] ?? "";
  return { ctr, version, stop: () => daemon.stop(STOP_MS) };
}

export async function openContainerd(workshop: Workshop): Promise<Contender> {
  const { ctr, version, stop } = await startContainerd(workshop);
  return commandContender({
    note: `ctr run --rm, containerd ${version}; no user namespace, no limits`,
    maxParallel: 32,
    argv: ({ tag, argv }) => [...ctr, "run", "--rm", tag, "bench-{id}", ...argv],
    load: ({ archive }) => run([...ctr, "image", "import", archive]),
    close: stop,
  });
}

function configOf(room: string, socket: string): string {
  return `version = 2
root = ${JSON.stringify(join(room, "root"))}
state = ${JSON.stringify(join(room, "state"))}
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = ${JSON.stringify(socket)}
`;
}
