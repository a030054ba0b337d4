// runc and crun by themselves: the command line on a bundle that is ready, with the namespaces that Mayfly's containers have.

import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../../infra/command.ts";
import { UID_BASE } from "../settings.ts";
import type { Subject } from "../subject.ts";
import type { Workshop } from "../workshop.ts";
import { type Contender, commandContender, findProgram } from "./contender.ts";

const NAMESPACES = ["pid", "mount", "ipc", "uts", "network", "cgroup", "user"];

export const openRunc = (workshop: Workshop) => openOciRuntime("runc", workshop);
export const openCrun = (workshop: Workshop) => openOciRuntime("crun", workshop);

async function openOciRuntime(name: string, workshop: Workshop): Promise<Contender> {
  const program = findProgram(name);
  const room = await workshop.room(name);
  const runtime = [program, "--root", join(room, "state")] as const;
  const version = /version (\S+)/.exec(await run([program, "--version"]))?.[1] ?? "";
  const bundle = (subject: Subject) => join(room, subject.name);
  return commandContender({
    note: `${name} run ${version} on a prepared bundle: every namespace; no overlay, seccomp or limits`,
    maxParallel: 128,
    // A container's cgroup is named after it: so that the workshop finds it, should it be left.
    argv: (subject) => [...runtime, "run", "--bundle", bundle(subject), `${workshop.cgroup}-{id}`],
    async load(subject) {
      await workshop.room(`${name}/${subject.name}`);
      await rm(join(bundle(subject), "config.json"), { force: true }); // Of an earlier suite: it is not overwritten.
      await run([program, "spec", "--bundle", bundle(subject)]);
      const file = join(bundle(subject), "config.json");
      const spec = JSON.parse(await readFile(file, "utf8"));
      await writeFile(file, JSON.stringify(withEveryNamespace(spec, subject)));
    },
  });
}

interface Spec {
  readonly process: object;
  readonly linux: object;
}

/** The runtime's own example, but with a user, a network and a cgroup namespace, and the subject in it. */
function withEveryNamespace(spec: Spec, { rootfs, argv }: Subject): object {
  const ids = [{ containerID: 0, hostID: UID_BASE, size: 65_536 }];
  return {
    ...spec,
    root: { path: rootfs, readonly: true },
    process: { ...spec.process, terminal: false, args: argv, rlimits: [] },
    linux: {
      ...spec.linux,
      namespaces: NAMESPACES.map((type) => ({ type })),
      uidMappings: ids,
      gidMappings: ids,
    },
  };
}
