// The systemd units: what they start, started here by hand with other directories, makes containers.

import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { SILENT } from "../../core/log.ts";
import { createRuntime } from "../../runtime/index.ts";
import { WORKER_SETTINGS } from "../../worker/config.ts";
import { eventually } from "../helpers/eventually.ts";
import { busyboxImage, pushImage } from "../helpers/image-builder.ts";
import { traces } from "../helpers/leak-check.ts";
import { nothingLeft } from "../helpers/nothing-left.ts";
import { startLauncher } from "../helpers/own-launcher.ts";
import { ROOT } from "../helpers/process.ts";
import { startRegistry } from "../helpers/registry.ts";
import { DEFAULT_UID_BASE, text } from "../helpers/runtime.ts";

/** `Name=value` lines of a unit; a line that ends in a backslash goes on. */
async function unit(name: string): Promise<{ name: string; value: string }[]> {
  const whole = (await readFile(join(ROOT, "infra/systemd", name), "utf8")).replaceAll(/\\\n\s*/g, "");
  return [...whole.matchAll(/^(?<name>[A-Za-z]+)=(?<value>.*)$/gm)].map(({ groups }) => ({
    name: groups?.name ?? "",
    value: groups?.value ?? "",
  }));
}

async function valuesOf(file: string, name: string): Promise<string[]> {
  return (await unit(file)).filter((line) => line.name === name).map(({ value }) => value);
}

it("the worker's unit sets nothing that the worker does not know, and names the launcher's socket", async () => {
  const set = (await valuesOf("mayfly-worker.service", "Environment")).map((entry) => entry.split("=")[0]);
  const known = Object.values(WORKER_SETTINGS).map(({ variable }) => variable);
  expect(set.filter((name) => !known.includes(name ?? ""))).toEqual([]);
  const [socket] = (await valuesOf("mayfly-launcher.service", "ExecStart"))[0]?.match(/(?<=--socket )\S+/) ?? [];
  expect(await valuesOf("mayfly-worker.service", "Environment")).toContain(`MAYFLY_LAUNCHER_SOCKET=${socket}`);
});

it("the launcher's unit starts a launcher that a runtime can use, and that outlives it", async () => {
  const directory = await mkdtemp(join(tmpdir(), "mayfly-unit-"));
  const hostId = `unit-${process.pid}`;
  const here = (line: string) =>
    line
      .replaceAll("/opt/mayfly", ROOT)
      .replaceAll("/run/mayfly-launcher", directory)
      .replaceAll("/var/lib/mayfly/", `${directory}/`)
      .replaceAll("%H", hostId);
  const [before = ""] = (await valuesOf("mayfly-launcher.service", "ExecStartPre")).map(here);
  const [command = ""] = (await valuesOf("mayfly-launcher.service", "ExecStart")).map(here);
  const env = Object.fromEntries(
    (await valuesOf("mayfly-launcher.service", "Environment")).map((entry) => entry.split("=") as [string, string]),
  );
  const script = before.match(/^\/bin\/sh -c '(?<script>.*)'$/)?.groups?.script ?? "";
  await promisify(execFile)("/bin/sh", ["-c", script], { env: { PATH: process.env.PATH, ...env } });

  const registry = await startRegistry();
  const launcher = await startLauncher(command.split(" ") as [string, ...string[]]);
  const runtime = await createRuntime({
    hostId,
    stateDir: directory,
    runDir: "/run/mayfly",
    driver: "launcher",
    launcherSocket: join(directory, "socket"),
    ociRuntime: "/usr/sbin/runc",
    seccompProfile: "/usr/share/containers/seccomp.json",
    uidBase: DEFAULT_UID_BASE,
    log: SILENT,
  });
  try {
    const { reference } = await pushImage(registry, "busybox:test", await busyboxImage());
    const image = await runtime.ensureImage(reference, AbortSignal.timeout(60_000));
    const limits = { cpus: 1, memoryBytes: 2 ** 26, pids: 16, diskBytes: 2 ** 24 };
    const spec = {
      id: "unit-run",
      image,
      argv: ["echo", "by unit"],
      env: [],
      workdir: "/",
      user: "",
      hostname: "h",
      limits,
    };
    const sandbox = await runtime.openSandbox({ ...spec, deadlineMs: 30_000 }, AbortSignal.timeout(60_000));
    expect(await text(sandbox.stdout)).toBe("by unit\n");
    await sandbox.close();
    await runtime.close();
    // It is not this runtime's to end.
    await eventually(async () => expect((await runtime.blanks()).cgroups.length).toBeGreaterThan(0));
  } finally {
    await launcher.stop();
    await registry.stop();
    await nothingLeft({ hostId, stateDir: directory }, { launcher: false });
    expect(await traces({ hostId, stateDir: directory })).toMatchObject({ cgroups: [], processes: [], mounts: [] });
    await rm(directory, { recursive: true, force: true });
  }
});
