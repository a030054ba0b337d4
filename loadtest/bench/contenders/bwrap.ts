// bubblewrap: every namespace and nothing else, in one small C program. The nearest to the floor that people use.

import { run } from "../../../infra/command.ts";
import { type Contender, commandContender, findProgram } from "./contender.ts";

export async function openBwrap(): Promise<Contender> {
  const program = findProgram("bwrap");
  const version = (await run([program, "--version"])).trim().split(" ").at(-1) ?? "";
  return commandContender({
    note: `bwrap --unshare-all ${version}; no cgroup of its own, overlay, seccomp or limits`,
    maxParallel: 128,
    argv: ({ rootfs, argv }) => [
      ...[program, "--unshare-all", "--die-with-parent"],
      ...["--ro-bind", rootfs, "/", "--proc", "/proc", "--dev", "/dev"],
      ...argv,
    ],
  });
}
