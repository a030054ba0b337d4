// A mayfly-launcher that a test starts by itself, as somebody other than the runtime would.

import { mkdir, readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { removeCgroup } from "../../runtime/cgroup/cgroup.ts";
import { parseCgroupLayout } from "../../runtime/cgroup/layout.ts";
import { finished, startProcess } from "../../runtime/host/command.ts";

export interface LauncherUnderTest {
  readonly pid: number;
  stop(): Promise<void>;
}

/** Resolves when it listens. */
export async function startLauncher(argv: readonly [string, ...string[]]): Promise<LauncherUnderTest> {
  const after = (flag: string) => argv[argv.indexOf(flag) + 1] ?? "";
  await mkdir(after("--layers"), { recursive: true });
  const child = startProcess(argv, { stdio: ["ignore", "pipe", "inherit"] });
  const ended = finished(child);
  const lines: string[] = [];
  const ready = Promise.withResolvers<void>();
  createInterface({ input: child.stdout as NonNullable<typeof child.stdout> }).on("line", (line) => {
    lines.push(line);
    if (line.includes('"launcher.ready"')) ready.resolve();
  });
  await Promise.race([
    ready.promise,
    ended.then(() => {
      throw new Error(`the launcher ended: ${lines.join("\n")}`);
    }),
  ]);
  return {
    pid: child.pid as number,
    async stop() {
      child.kill("SIGTERM");
      await ended;
      const layout = parseCgroupLayout(await readFile("/proc/self/mountinfo", "utf8"));
      await removeCgroup(layout, `/${after("--cgroup")}`);
    },
  };
}
