// Many runs of every ending, and many deaths of launcher and worker: what one of a thousand leaves behind is seen here.
//
// A short form is part of `npm test`, the full one is `npm run test:long`, which prints its figures.

import { setTimeout as delay } from "node:timers/promises";
import { expect, it } from "vitest";
import { isMayflyError } from "../../core/errors.ts";
import type { Run } from "../../core/run.ts";
import type { SandboxSpec } from "../../runtime/index.ts";
import { type Cluster, startCluster, type WorkerUnderTest } from "../helpers/cluster.ts";
import { launcherState, theLauncher } from "../helpers/launcher.ts";
import { traces } from "../helpers/leak-check.ts";
import { nothingLeft } from "../helpers/nothing-left.ts";
import { makeRuntime, type RuntimeUnderTest } from "../helpers/runtime.ts";
import { seeded } from "../helpers/seeded.ts";

export interface EnduranceOptions {
  readonly runs: number;
  readonly rounds: number;
  readonly say: (figures: string) => void;
}

const MIB = 2 ** 20;
const CONCURRENCY = 16;
const LONG_MS = 2 * 60 * 60 * 1000;

const sh = (script: string): Partial<SandboxSpec> => ({ argv: ["sh", "-c", script] });

/** One run of each ending. What it says is checked: a wrong answer under load is a failure too. */
const ENDINGS: Record<string, (under: RuntimeUnderTest) => Promise<void>> = {
  async exits(under) {
    const { end, stdout } = await under.sh("echo out; exit 5");
    expect({ process: end.process, stdout }).toEqual({ process: { kind: "exited", exitCode: 5 }, stdout: "out\n" });
  },
  async echoes(under) {
    const stdin = Buffer.alloc(200_000, "x");
    expect((await under.run({ argv: ["cat"], stdin })).stdout).toHaveLength(stdin.length);
  },
  async "is killed by its own signal"(under) {
    expect((await under.sh("kill -SEGV $$")).end.process).toEqual({ kind: "signaled", signal: "SIGSEGV" });
  },
  async "is not a program"(under) {
    expect((await under.run({ argv: ["no-such-program"] })).end.process).toEqual({ kind: "exited", exitCode: 127 });
  },
  async "has no such user"(under) {
    await expect(under.open({ user: "nobody-here" })).rejects.toMatchObject({ reason: "invalid_field" });
  },
  async "passes its deadline"(under) {
    const outcome = await under.run({ argv: ["sleep", "300"], deadlineMs: 150 }).catch((error: unknown) => error);
    expect(isMayflyError(outcome) && outcome.reason).toBe("host_unavailable");
  },
  async "floods and is not read"(under) {
    const sandbox = await under.open(sh("yes & yes >&2; wait"));
    sandbox.kill();
    expect((await sandbox.ended).process).toEqual({ kind: "signaled", signal: "SIGKILL" });
    await sandbox.close();
  },
  async "is closed at once"(under) {
    await (await under.open({ argv: ["sleep", "300"] })).close();
  },
  async "is aborted while it is made"(under) {
    const abort = new AbortController();
    const opening = under.open({ argv: ["sleep", "300"] }, abort.signal);
    abort.abort(new Error("not wanted"));
    await expect(opening).rejects.toThrow("not wanted");
  },
  async "leaves daemons"(under) {
    expect((await under.sh("(setsid sleep 300 &); (sleep 300 &); exit 0")).end.process.kind).toBe("exited");
  },
  async "runs out of memory"(under) {
    const limits = { cpus: 1, memoryBytes: 16 * MIB, pids: 16, diskBytes: MIB };
    expect((await under.run({ argv: ["tail", "/dev/zero"], limits })).end.usage?.oomKills).toBeGreaterThan(0);
  },
  async "has a terminal"(under) {
    const { stdout } = await under.sh("tty", { terminal: { rows: 24, columns: 80 } });
    expect(stdout).toBe("/dev/pts/0\r\n");
  },
};

export function endurance({ runs, rounds, say }: EnduranceOptions): void {
  it(`${runs} runs of every ending, ${CONCURRENCY} at a time, leave the host and the launcher as they were`, {
    timeout: LONG_MS,
  }, async () => {
    const under = await makeRuntime({ blanks: { min: 4, max: 16 } });
    try {
      await runAll(under, Object.keys(ENDINGS).length * 4); // Everything has been used once.
      await nothingLeft(under.host, { launcher: true });
      const before = { traces: await traces(under.host), launcher: await launcherState(under.host) };
      const sinceMs = performance.now();
      await runAll(under, runs);
      const seconds = (performance.now() - sinceMs) / 1000;
      await nothingLeft(under.host, { launcher: true });
      const after = { traces: await traces(under.host), launcher: await launcherState(under.host) };
      say(
        `${runs} runs in ${seconds.toFixed(1)} s; launcher before ${JSON.stringify(before.launcher)}, after ${JSON.stringify(after.launcher)}`,
      );
      expect(after.traces).toEqual(before.traces);
      expect(after.launcher.pid).toBe(before.launcher.pid);
      expect(after.launcher.descriptors).toEqual(before.launcher.descriptors);
      expect(after.launcher.makers).toEqual(before.launcher.makers);
    } finally {
      await under.stop();
    }
  });

  it(`${rounds} deaths of launcher or worker at any moment under load leave nothing, and each run has one outcome`, {
    timeout: LONG_MS,
  }, async () => {
    const random = seeded(20261124);
    const cluster = await startCluster({ workers: 0 });
    try {
      const counts: Record<string, number> = {};
      const told = new Map<string, Run["outcome"]>();
      let slowestMs = 0;
      let worker = await cluster.startWorker();
      for (let round = 0; round < rounds; round++) {
        const victim = random(2) === 0 ? "launcher" : "worker";
        const ids = await submitSome(cluster, 4 + random(8));
        await delay(random(300)); // The moment is what is tried.
        worker = await kill(cluster, worker, victim);
        const sinceMs = performance.now();
        const finished = await Promise.all(ids.map((id) => untilFinished(cluster, id)));
        slowestMs = Math.max(slowestMs, performance.now() - sinceMs);
        for (const { id, outcome } of finished) {
          counts[kindOf(outcome)] = (counts[kindOf(outcome)] ?? 0) + 1;
          told.set(id, outcome);
        }
        counts[victim] = (counts[victim] ?? 0) + 1;
        await nothingLeft(worker.host, { launcher: true });
      }
      // What was told once stands, whatever died afterwards.
      for (const [id, outcome] of told) {
        expect((await cluster.get(id)).outcome).toEqual(outcome);
        expect(await endsOf(cluster, id)).toBe(1);
      }
      const kinds = Object.keys(counts).filter((kind) => kind !== "launcher" && kind !== "worker");
      expect(kinds.filter((kind) => !["exited", "lost"].includes(kind))).toEqual([]);
      say(
        `${rounds} rounds, ${told.size} runs: ${JSON.stringify(counts)}; the slowest round took ${Math.round(slowestMs)} ms`,
      );
    } finally {
      await cluster.stop();
    }
  });
}

async function runAll(under: RuntimeUnderTest, count: number): Promise<void> {
  const endings = Object.entries(ENDINGS);
  let next = 0;
  const lane = async () => {
    for (let i = next++; i < count; i = next++) await endings[i % endings.length]?.[1](under);
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, lane));
}

const REQUESTS = [["true"], ["sh", "-c", "sleep 0.2; echo done"], ["sh", "-c", "yes | head -c 100000"], ["sleep", "1"]];

async function submitSome(cluster: Cluster, count: number): Promise<string[]> {
  const runs = Array.from({ length: count }, (_, i) =>
    cluster.submit({ command: REQUESTS[i % REQUESTS.length] ?? [], retries: i % 3 }),
  );
  return (await Promise.all(runs)).map(({ id }) => id);
}

/** The worker that goes on: the same if only its launcher was killed, else its next life. */
async function kill(
  cluster: Cluster,
  worker: WorkerUnderTest,
  victim: "launcher" | "worker",
): Promise<WorkerUnderTest> {
  if (victim === "launcher") {
    process.kill((await theLauncher(worker.host)).launcher, "SIGKILL");
    return worker;
  }
  await worker.process.stop("SIGKILL");
  return cluster.startWorker({ MAYFLY_HOST_ID: worker.host.hostId, MAYFLY_STATE_DIR: worker.host.stateDir });
}

const kindOf = (outcome: Run["outcome"]): string => outcome?.kind ?? "none";

/** What died with its host is found by its lease, which takes a while. */
async function untilFinished(cluster: Cluster, id: string): Promise<Run> {
  for (;;) {
    const run = await cluster.get(id, 60);
    if (run.state === "finished") return run;
  }
}

/** How often its events tell its end. */
async function endsOf(cluster: Cluster, id: string): Promise<number> {
  const events = await (await cluster.fetch(`/v1/runs/${id}/events`)).text();
  return events.split("event: end\n").length - 1;
}
