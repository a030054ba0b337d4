// A host that lacks something, or loses something in the middle. A run that cannot be is told why; nothing of it is left; and once
// the fault is gone, the next run is as good as any.

import { mkdir, mkdtemp, readFile, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { isErrno, isMayflyError } from "../../core/errors.ts";
import { type CgroupLayout, parseCgroupLayout } from "../../runtime/cgroup/layout.ts";
import { runProgram } from "../../runtime/host/command.ts";
import type { Sandbox } from "../../runtime/index.ts";
import { type HeardLog, heardLog } from "../helpers/heard-log.ts";
import { busyboxImage, pushImage } from "../helpers/image-builder.ts";
import { theLauncher } from "../helpers/launcher.ts";
import { nothingLeft } from "../helpers/nothing-left.ts";
import { makeRuntime, type RuntimeUnderTest, type UnderTestOptions } from "../helpers/runtime.ts";

const MIB = 2 ** 20;
const NO_BLANKS = { min: 0, max: 0 };

let under: RuntimeUnderTest;
let log: HeardLog;

async function start(options: UnderTestOptions = {}): Promise<void> {
  log = heardLog();
  under = await makeRuntime({ log, ...options });
}

/** Whatever the fault was: it is gone, the host is clean, and the next run is as good as any. */
afterEach(async () => {
  try {
    await nothingLeft(under.host, { launcher: true });
    expect((await under.sh("exit 4")).end.process).toEqual({ kind: "exited", exitCode: 4 });
  } finally {
    await under.stop();
  }
});

const unavailable = (message: RegExp) => ({
  reason: "host_unavailable",
  message: expect.stringMatching(message),
});

async function layoutOfHost(): Promise<CgroupLayout> {
  return parseCgroupLayout(await readFile("/proc/self/mountinfo", "utf8"));
}

/** Of what may be an end, a refusal by this host is the one that is not the program's. */
async function endOf(opening: Promise<Sandbox>): Promise<"ended" | "unavailable"> {
  try {
    const sandbox = await opening;
    try {
      await sandbox.ended;
      return "ended";
    } finally {
      await sandbox.close();
    }
  } catch (error) {
    if (isMayflyError(error) && error.reason === "host_unavailable") return "unavailable";
    throw error;
  }
}

describe("the disk", () => {
  it("has lost a layer under a running launcher: the run is refused by its name", async () => {
    await start();
    const layer = under.image.layers[0] ?? "";
    await rename(layer, `${layer}.away`);
    await expect(under.open()).rejects.toMatchObject(unavailable(/No such file/));
    await rename(`${layer}.away`, layer);
  });

  it("loses a layer while a sandbox uses it: that sandbox ends, and goes away, like any other", async () => {
    await start();
    const layer = under.image.layers[0] ?? "";
    const sandbox = await under.open({ argv: ["cat"] });
    await rename(layer, `${layer}.away`);
    sandbox.stdin.end();
    expect((await sandbox.ended).process).toEqual({ kind: "exited", exitCode: 0 });
    await sandbox.close();
    await rename(`${layer}.away`, layer);
  });

  it("is full: what is there already still runs, and an image that does not fit is refused and leaves nothing", async () => {
    const place = await mkdtemp(join(tmpdir(), "mayfly-full-"));
    await runProgram(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", place]);
    const stateDir = join(place, "state");
    await mkdir(stateDir);
    try {
      await start({ stateDir, blanks: NO_BLANKS });
      const { reference } = await pushImage(under.registry, "other:test", await busyboxImage({ Env: ["OTHER=1"] }));
      const ballast = join(place, "ballast");
      await runProgram(["sh", "-c", `cat /dev/zero > ${ballast} 2>/dev/null || true`]);
      expect((await under.sh("exit 3")).end.process).toEqual({ kind: "exited", exitCode: 3 });
      await expect(under.runtime.ensureImage(reference, AbortSignal.timeout(60_000))).rejects.toThrow(/no space/i);
      await rm(ballast);
      await under.runtime.ensureImage(reference, AbortSignal.timeout(60_000));
    } finally {
      await runProgram(["umount", "--lazy", place]); // What the launcher still holds goes with it.
    }
    await mkdir(stateDir, { recursive: true });
    await under.stop();
    await rm(place, { recursive: true });
    await start();
  });
});

describe("memory", () => {
  it("that is too little for the init itself is an end that is told, and none of the host's", async () => {
    await start();
    const limits = { cpus: 1, memoryBytes: 64 * 1024, pids: 16, diskBytes: MIB };
    for (let i = 0; i < 8; i++) {
      const outcome = await endOf(under.open({ argv: ["true"], limits, deadlineMs: 5_000 }));
      expect(["ended", "unavailable"]).toContain(outcome);
    }
  });
});

describe("pids", () => {
  it("of the host's that are used up refuse the run with the kernel's word, until there are some again", async () => {
    await start({ blanks: NO_BLANKS });
    const { pids } = await layoutOfHost();
    const limit = join(pids, `mayfly-${under.host.hostId}`, "pids.max");
    await writeFile(limit, "0");
    await expect(under.open()).rejects.toMatchObject(unavailable(/Resource temporarily unavailable/));
    await writeFile(limit, "max");
  });
});

describe("a cgroup", () => {
  it("that cannot be made is told as such; a launcher that is started again makes what it is below of", async () => {
    await start({ blanks: NO_BLANKS });
    const { memory } = await layoutOfHost();
    await rmdir(join(memory, `mayfly-${under.host.hostId}`));
    await expect(under.open()).rejects.toMatchObject(unavailable(/make: No such file/));
    process.kill((await theLauncher(under.host)).launcher, "SIGKILL");
    await log.heard("launcher.ready", 2);
  });
});

describe("file descriptors", () => {
  it("that run out refuse runs and leave nothing of them", async () => {
    await start({ blanks: { min: 0, max: 4 } });
    // The launcher's alone, and only for now: its makers have been started, and the containers' own limit is above it.
    await runProgram(["prlimit", "--pid", String((await theLauncher(under.host)).launcher), "--nofile=96:"]);
    for (let round = 0; round < 3; round++) {
      const openings = Array.from({ length: 24 }, () => under.open({ argv: ["cat"], deadlineMs: 60_000 }));
      // None ends before all have been asked for, however long that takes.
      for (const opened of await Promise.allSettled(openings))
        if (opened.status === "fulfilled") opened.value.stdin.end();
      const ends = await Promise.all(openings.map(endOf));
      expect(ends).toContain("unavailable");
      expect(ends).toContain("ended");
      await nothingLeft(under.host, { launcher: true });
    }
  });
});

/** It may have ended since it was listed. */
function killIfThere(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (!isErrno(error, "ESRCH")) throw error;
  }
}

describe("a maker", () => {
  const killAll = async (signal: NodeJS.Signals) => {
    for (const pid of (await theLauncher(under.host)).makers) process.kill(pid, signal);
  };

  it("that is killed with a blank to be made refuses that run", async () => {
    await start({ blanks: NO_BLANKS });
    await killAll("SIGSTOP");
    const opening = expect(under.open()).rejects.toMatchObject(unavailable(/lost/));
    await theJobIsTaken();
    await killAll("SIGKILL");
    await opening;
  });

  it("that is killed with a blank to be furnished refuses that run", async () => {
    await start({ blanks: { min: 1, max: 1 } });
    while ((await under.runtime.blanks()).ready === 0) await new Promise(setImmediate);
    await killAll("SIGSTOP");
    const opening = expect(under.open()).rejects.toMatchObject(unavailable(/lost/));
    await theJobIsTaken();
    await killAll("SIGKILL");
    await opening;
  });

  it("that is killed with a sandbox to be removed is followed by one that removes it", async () => {
    await start({ blanks: NO_BLANKS });
    const sandbox = await under.open({ argv: ["cat"] });
    await killAll("SIGSTOP");
    const closing = sandbox.close();
    await sandbox.ended; // Only to remove it is left.
    await theJobIsTaken();
    await killAll("SIGKILL");
    await closing;
  });

  it("that is killed again and again under load costs single runs, and leaves nothing", async () => {
    await start({ blanks: { min: 2, max: 8 } });
    let over = false;
    const ends: string[] = [];
    const lane = async () => {
      while (!over) ends.push(await endOf(under.open({ argv: ["true"] })));
    };
    const lanes = Promise.all(Array.from({ length: 6 }, lane));
    for (let kill = 0; kill < 60; kill++) {
      const { makers } = await theLauncher(under.host);
      const pid = makers[kill % Math.max(1, makers.length)];
      if (pid !== undefined) killIfThere(pid);
      const count = ends.length;
      while (ends.length < count + 3) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    over = true;
    await lanes;
    expect(ends).toContain("ended");
  });

  /** By then the launcher has heard of it: it answers in order. */
  async function theJobIsTaken(): Promise<void> {
    for (let i = 0; i < 3; i++) await under.runtime.blanks();
  }
});

describe("a blank", () => {
  it("that an operator kills is replaced before anybody asks for it", async () => {
    await start({ blanks: { min: 2, max: 2 } });
    while ((await under.runtime.blanks()).ready < 2) await new Promise(setImmediate);
    const { inits } = await theLauncher(under.host);
    for (const pid of inits) process.kill(pid, "SIGKILL");
    await log.heard("blank.lost", inits.length);
    while ((await under.runtime.blanks()).ready < 2) await new Promise(setImmediate);
  });

  it("that dies while it is being given to a run ends that run, one way or the other", async () => {
    await start({ blanks: { min: 1, max: 1 } });
    while ((await under.runtime.blanks()).ready === 0) await new Promise(setImmediate);
    const { launcher, inits } = await theLauncher(under.host);
    process.kill(launcher, "SIGSTOP");
    const opening = endOf(under.open({ argv: ["true"] }));
    await new Promise((resolve) => setTimeout(resolve, 50)); // Its words are in the launcher's socket by then, or come later: both will do.
    for (const pid of inits) process.kill(pid, "SIGKILL");
    process.kill(launcher, "SIGCONT");
    expect(["ended", "unavailable"]).toContain(await opening);
  });
});
