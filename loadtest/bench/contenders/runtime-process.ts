// The runtime as a library, in a process of its own: as small as a worker is, with nothing of the benchmark in its heap, which
// would make each start of a process dearer. It does what it is told (runtime-calls.ts), and leaves when its parent does.

import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { SILENT } from "../../../core/log.ts";
import { createRuntime, type Runtime, type Sandbox } from "../../../runtime/index.ts";
import { pacedOnce, rateOfMany } from "../pace.ts";
import { limitsOf, UID_BASE } from "../settings.ts";
import type { Call, CallName, Creation, Reply, RuntimeCalls, Workload } from "./runtime-calls.ts";

/** Longer than any benchmark: a sandbox that has to be ended by its deadline has been forgotten. */
const DEADLINE_MS = 2 * 60 * 60 * 1000;
const OPEN_MS = 60_000;
const READY_MS = 60_000;
const PULL_MS = 5 * 60_000;
const ASK_AGAIN_MS = 5;
/** Sleepers are opened side by side, but no more than a host would have on its way at once. */
const OPENED_AT_ONCE = 8;

let runtime: Runtime | undefined;
let keptBlanks = 0;
const sleepers: Sandbox[] = [];

function theRuntime(): Runtime {
  if (!runtime) throw new Error("there is no runtime yet");
  return runtime;
}

async function create(creation: Creation): Promise<{ driver: string }> {
  runtime = await createRuntime({
    ...creation,
    ociRuntime: "/usr/sbin/runc",
    seccompProfile: "/usr/share/containers/seccomp.json",
    uidBase: UID_BASE,
    log: SILENT,
  });
  await runtime.removeLeftovers();
  keptBlanks = runtime.driver === "launcher" ? creation.blanks.min : 0;
  return { driver: runtime.driver };
}

/** Asked again and again: a runtime has no need to tell anybody, and a few milliseconds late is early enough. */
async function ready(least: number): Promise<number> {
  const end = performance.now() + READY_MS;
  for (;;) {
    const { ready: now } = await theRuntime().blanks();
    if (now >= least) return now;
    if (performance.now() > end) throw new Error(`only ${now} of ${least} blanks are ready after ${READY_MS / 1000} s`);
    await delay(ASK_AGAIN_MS);
  }
}

async function open(workload: Workload, argv: readonly string[] = workload.argv): Promise<Sandbox> {
  const image = await theRuntime().ensureImage(workload.reference, AbortSignal.timeout(OPEN_MS));
  const sandbox = await theRuntime().openSandbox(
    {
      id: `bench-${randomBytes(8).toString("hex")}`,
      image,
      argv,
      env: image.config.env,
      workdir: "/",
      user: "",
      hostname: "bench",
      limits: limitsOf(workload),
      deadlineMs: DEADLINE_MS,
    },
    AbortSignal.timeout(OPEN_MS),
  );
  sandbox.ended.catch(() => {}); // Told to whoever awaits it; a sleeper's end is nobody's.
  sandbox.stdin.end();
  sandbox.stdout.resume();
  sandbox.stderr.resume();
  return sandbox;
}

/** From the call to the end of the program; `removed` is told how long it took until nothing was left. */
async function runOnce(workload: Workload, removed: (ms: number) => void): Promise<number> {
  const start = performance.now();
  const sandbox = await open(workload);
  const { process: end } = await sandbox.ended;
  const took = performance.now() - start;
  await sandbox.close();
  removed(performance.now() - start - took);
  if (end.kind !== "exited" || end.exitCode !== 0) throw new Error(`the program ended with ${JSON.stringify(end)}`);
  return took;
}

async function sleep(workload: Workload, count: number): Promise<void> {
  let left = count;
  const opening = async () => {
    while (left-- > 0) sleepers.push(await open(workload, ["sleep", "1000000"]));
  };
  // All of them are waited for, also when one has failed: what is still on its way could not be closed.
  const opened = await Promise.allSettled(Array.from({ length: OPENED_AT_ONCE }, opening));
  const failed = opened.find((each) => each.status === "rejected");
  if (failed) throw failed.reason;
}

async function pull(reference: string): Promise<number> {
  const start = performance.now();
  const image = await theRuntime().ensureImage(reference, AbortSignal.timeout(PULL_MS));
  image.release();
  return performance.now() - start;
}

/** A few at a time, for the same reason. */
async function wake(): Promise<void> {
  const closing = async () => {
    for (let next = sleepers.pop(); next; next = sleepers.pop()) await next.close();
  };
  await Promise.all(Array.from({ length: OPENED_AT_ONCE }, closing));
}

async function close(): Promise<void> {
  await wake();
  await runtime?.close();
  runtime = undefined;
}

type Handlers = { readonly [N in CallName]: (input: RuntimeCalls[N]["in"]) => Promise<RuntimeCalls[N]["out"]> };

const handlers: Handlers = {
  create,
  ready: () => ready(keptBlanks),
  async start({ workload, pace }) {
    const removalMs: number[] = [];
    const one = async () => {
      // A blank is what this row is about: a start that has to do without one belongs to the row of the cold ones.
      await ready(Math.min(1, keptBlanks));
      return runOnce(workload, (took) => removalMs.push(took));
    };
    return { ms: await pacedOnce(pace, one), removalMs };
  },
  load: ({ workload, burst }) => rateOfMany(burst, () => runOnce(workload, () => {})),
  sleep: ({ workload, count }) => done(sleep(workload, count)),
  wake: () => done(wake()),
  pull,
  close: () => done(close()),
};

/** An answer has to be something: JSON has no `undefined`. */
const done = (work: Promise<void>) => work.then(() => null);

async function answer({ id, name, input }: Call): Promise<Reply> {
  try {
    const handler = handlers[name] as (given: unknown) => Promise<unknown>;
    return { id, output: await handler(input) };
  } catch (error) {
    return { id, error: error instanceof Error ? error.message : String(error) };
  }
}

process.on("message", async (call: Call) => {
  const reply = await answer(call);
  if (process.connected) process.send?.(reply);
});
process.on("disconnect", () => void close().finally(() => process.exit(0)));
