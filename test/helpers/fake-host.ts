// A host without containers, for tests that begin at HTTP: the real worker, from the queue to the record, and sandboxes whose
// program is a script in the test.
//
//   const host = await startFakeHost({ redisUrl, program: (sandbox, spec) => sandbox.stdin.pipe(sandbox.stdout) });
//   …
//   await host.stop();

import { newIncarnation } from "../../core/ids.ts";
import { type Log, SILENT } from "../../core/log.ts";
import type { Keyring } from "../../core/secret.ts";
import type { HeldImage, Runtime, SandboxSpec } from "../../runtime/index.ts";
import { Ledger } from "../../worker/admission.ts";
import { Executor } from "../../worker/executor.ts";
import { Intake } from "../../worker/intake.ts";
import { Offers } from "../../worker/offers.ts";
import { connectRedis, Messages, RunStore } from "../../worker/run-store.ts";
import { FakeSandbox } from "./fake-sandbox.ts";
import { NO_IMAGES } from "./no-images.ts";

export interface FakeHostOptions {
  readonly redisUrl: string;
  /** Called when a sandbox is open; ends it when its program is to end. */
  readonly program: (sandbox: FakeSandbox, spec: SandboxSpec) => void;
  /** Awaited before a sandbox is open, to hold a run in `starting`. */
  readonly beforeOpen?: () => Promise<void>;
  readonly log?: Log;
  readonly keyring?: Keyring;
}

export interface FakeHost {
  /** Of all runs so far. */
  readonly sandboxes: readonly FakeSandbox[];
  readonly specs: readonly SandboxSpec[];
  /** Ends what still runs, takes no more, disconnects. */
  stop(): Promise<void>;
}

const HOST_ID = "fake";
const ROOM = { cpus: 64, memoryBytes: 64 * 2 ** 30, pids: 100_000, slots: 64 };
const IMAGE: HeldImage = {
  release() {},
  reference: "docker.io/library/busybox:latest",
  digest: `sha256:${"1".repeat(64)}`,
  manifestDigest: `sha256:${"1".repeat(64)}`,
  config: { env: [], entrypoint: [], command: ["sh"], workdir: "/", user: "" },
  layers: [],
};

/** Resolves when it takes runs and hears orders. */
export async function startFakeHost(options: FakeHostOptions): Promise<FakeHost> {
  const { redisUrl, program, beforeOpen, log = SILENT, keyring } = options;
  const sandboxes: FakeSandbox[] = [];
  const specs: SandboxSpec[] = [];
  const runtime: Runtime = {
    driver: "fake",
    blanks: async () => ({ ready: 0, wanted: 0, cgroups: [] }),
    ensureImage: async () => IMAGE,
    images: NO_IMAGES,
    async openSandbox(spec) {
      specs.push(spec);
      await beforeOpen?.();
      const sandbox = new FakeSandbox();
      sandboxes.push(sandbox);
      program(sandbox, spec);
      return sandbox;
    },
    removeLeftovers: async () => ({ sandboxes: [] }),
    close: async () => {},
  };
  const redis = connectRedis(redisUrl);
  const subscriber = redis.duplicate();
  await Promise.all([redis.connect(), subscriber.connect()]);
  const incarnation = newIncarnation();
  const store = new RunStore(redis, 60_000, incarnation);
  const messages = new Messages(subscriber);
  const executor = new Executor({ runtime, store, messages, hostId: HOST_ID, log, keyring });
  const intake = new Intake(executor.execute.bind(executor));
  const ledger = new Ledger(ROOM);
  const offers = new Offers({
    ...{ pool: "default", hostId: HOST_ID, incarnation },
    ...{ ledger, store, messages, intake, log: SILENT },
  });
  await messages.onOrder(
    HOST_ID,
    (order) => order.verb !== "duty" && executor.obey(order),
    () => executor.lookAgain(),
  );
  await offers.start();
  return {
    sandboxes,
    specs,
    async stop() {
      offers.stop();
      executor.abandonAll();
      await offers.idle();
      await intake.idle();
      for (const client of [redis, subscriber]) client.disconnect();
    },
  };
}
