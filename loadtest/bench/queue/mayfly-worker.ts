// The worker's half of Mayfly's queue: its offers and its executor, as worker/main.ts puts them together, but over a runtime
// whose sandboxes have ended before anybody looks. All that is missing is the container.

import { Readable, Writable } from "node:stream";
import { newIncarnation } from "../../../core/ids.ts";
import { SILENT } from "../../../core/log.ts";
import type { HeldImage, Runtime, Sandbox } from "../../../runtime/index.ts";
import { Ledger } from "../../../worker/admission.ts";
import { Executor } from "../../../worker/executor.ts";
import { Intake } from "../../../worker/intake.ts";
import { Offers } from "../../../worker/offers.ts";
import { connectRedis, Messages, RunStore } from "../../../worker/run-store.ts";

const HOST = "bench";
const RETENTION_MS = 600_000;
const PLENTY = { cpus: 1_000, memoryBytes: 2 ** 40, pids: 1_000_000, slots: 1_000 };

/** Resolves when it takes runs. */
export async function serveMayflyQueue(url: string): Promise<void> {
  const incarnation = newIncarnation();
  const redis = connectRedis(url);
  const subscriber = redis.duplicate();
  await Promise.all([redis.connect(), subscriber.connect()]);
  const store = new RunStore(redis, RETENTION_MS, incarnation);
  const messages = new Messages(subscriber);
  const executor = new Executor({ runtime: nothing as Runtime, store, messages, hostId: HOST, log: SILENT });
  const intake = new Intake(executor.execute.bind(executor));
  const ledger = new Ledger(PLENTY);
  const place = { pool: "default", hostId: HOST, incarnation };
  await new Offers({ ...place, ledger, store, messages, intake, log: SILENT }).start();
}

const DIGEST = `sha256:${"0".repeat(64)}`;
const IMAGE: HeldImage = {
  release() {},
  reference: "bench/nothing",
  digest: DIGEST,
  manifestDigest: DIGEST,
  layers: [],
  config: { env: [], entrypoint: [], command: [], workdir: "/", user: "" },
};

const nothing: Pick<Runtime, "driver" | "ensureImage" | "openSandbox"> = {
  driver: "nothing",
  ensureImage: async () => IMAGE,
  openSandbox: async () => endedSandbox(),
};

function endedSandbox(): Sandbox {
  return {
    stdin: new Writable({ write: (_chunk, _encoding, done) => done() }),
    stdout: Readable.from([]),
    stderr: Readable.from([]),
    programStarted: true,
    startMs: 0,
    ended: Promise.resolve({ process: { kind: "exited", exitCode: 0 }, usage: undefined }),
    programEnded: Promise.resolve(),
    extend() {},
    signal() {},
    resize() {},
    killProgram() {},
    kill() {},
    close: async () => {},
  };
}
