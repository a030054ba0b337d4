// The launcher killed at moments that nobody has chosen, and thousands of runs of every ending: nothing stays, and it goes on.
//
// The short form is part of every test run. `npm run test:long` does it at full length, and prints what it counted.

import { afterAll, beforeAll, expect, it } from "vitest";
import { blanksAt, type SandboxSpec } from "../../runtime/index.ts";
import { launcherPids, theLauncher } from "../helpers/launcher.ts";
import { traces } from "../helpers/leak-check.ts";
import { makeRuntime, type RuntimeUnderTest } from "../helpers/runtime.ts";
import { seeded } from "../helpers/seeded.ts";

const LONG = process.env.MAYFLY_TEST_LONG === "1";
const RUNS = LONG ? 5_000 : 500;
const KILLS = LONG ? 100 : 10;
const LANES = 16;
const SEED = 20_260_831;
const MIB = 2 ** 20;

/** Every kind of ending, in turn. */
const KINDS: Partial<SandboxSpec>[] = [
  { argv: ["true"] },
  { argv: ["sh", "-c", "yes | head -c 200000; exit 5"] },
  { argv: ["sh", "-c", "kill -KILL $$"] },
  { argv: ["no-such-program"] },
  { argv: ["true"], user: "nobody-here" },
  { argv: ["sh", "-c", "(setsid sleep 60 &); echo daemon"] },
  { argv: ["tail", "/dev/zero"], limits: { cpus: 1, memoryBytes: 16 * MIB, pids: 16, diskBytes: MIB } },
  { argv: ["sleep", "60"], deadlineMs: 30 },
  { argv: ["tty"], terminal: { rows: 2, columns: 2 } },
];

let under: RuntimeUnderTest;
beforeAll(async () => {
  under = await makeRuntime({ driver: "launcher", blanks: { min: 4, max: 32 } });
});
afterAll(() => under.stop());

/** What a run came to, in a word; a sandbox that could not be is as good an ending as any. */
async function ending(kind: Partial<SandboxSpec>): Promise<string> {
  try {
    const { end } = await under.run(kind);
    return end.process.kind;
  } catch (error) {
    return error instanceof Error && "reason" in error ? String(error.reason) : String(error);
  }
}

/** A launcher that is not this one, and listens. */
async function another(pid: number): Promise<void> {
  while (
    (await launcherPids(under.host))?.launcher === pid ||
    (await blanksAt(under.host.stateDir)).cgroups.length === 0
  )
    await new Promise((resolve) => setTimeout(resolve, 10));
}

async function nothingLeft(): Promise<void> {
  for (;;) {
    const { mounts, cgroups, processes, networkNamespaces } = await traces(under.host);
    if ([mounts, cgroups, processes, networkNamespaces].every((list) => list.length === 0)) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

it(`leaves the host as it was after ${RUNS} runs of every ending, ${LANES} at a time`, {
  timeout: 600_000,
}, async () => {
  const counts: Record<string, number> = {};
  let next = 0;
  const lane = async () => {
    for (let i = next++; i < RUNS; i = next++) {
      const word = await ending(KINDS[i % KINDS.length] ?? {});
      counts[word] = (counts[word] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  expect(Object.values(counts).reduce((sum, count) => sum + count, 0)).toBe(RUNS);
  expect(Object.keys(counts).toSorted()).toEqual(["exited", "host_unavailable", "invalid_field", "signaled"]);
  await nothingLeft();
  expect((await theLauncher(under.host)).zombies).toEqual([]);
  if (LONG) console.log(`${RUNS} runs:`, counts);
});

it(`is back after each of ${KILLS} kills at random moments, with nothing left`, { timeout: 900_000 }, async () => {
  const random = seeded(SEED);
  for (let round = 0; round < KILLS; round++) {
    const before = (await theLauncher(under.host)).launcher;
    const runs = Array.from({ length: 8 }, (_, i) => ending(KINDS[(round + i) % KINDS.length] ?? {}));
    await new Promise((resolve) => setTimeout(resolve, random(40))); // The moment is what is being tried.
    process.kill(before, "SIGKILL");
    const words = await Promise.all(runs);
    expect(words.filter((word) => !["exited", "signaled", "invalid_field", "host_unavailable"].includes(word))).toEqual(
      [],
    );
    await another(before);
    expect(await ending({ argv: ["true"] }), `round ${round}`).toBe("exited");
    await nothingLeft();
  }
});
