// One attempt of one run, top to bottom: lease → image → sandbox → output → outcome → release.

import { Bell } from "../core/bell.ts";
import { roundMs, Stopwatch } from "../core/clock.ts";
import type { RunOrder, RunSignal } from "../core/control.ts";
import type { Log } from "../core/log.ts";
import { planRun, type RunPlan } from "../core/plan.ts";
import type { RunRecord } from "../core/record.ts";
import { backoffMs } from "../core/retry.ts";
import type { Outcome, Receipt, StreamFacts } from "../core/run.ts";
import { Scope } from "../core/scope.ts";
import type { Keyring } from "../core/secret.ts";
import type { HeldImage, Runtime, Sandbox, SandboxEnd, TerminalSize } from "../runtime/index.ts";
import { untold } from "../telemetry/telemetry.ts";
import { boundCollecting, collectArtifacts, dropArtifacts } from "./artifacts.ts";
import { attemptObserver, type ObserveAttempt } from "./attempts.ts";
import { openBrought } from "./brought.ts";
import { Ending } from "./ending.ts";
import { feedInput } from "./input.ts";
import { Lease } from "./lease.ts";
import { judgeEnd, judgeError, type Verdict } from "./outcome.ts";
import { keepOutput } from "./output.ts";
import { PullReport } from "./pull-report.ts";
import type { Attempt, Ended, Messages, RunStore } from "./run-store.ts";
import { openSecrets } from "./secrets.ts";
import { sandboxSpec } from "./spec.ts";
import { stopOn } from "./stop.ts";
import { followWindow } from "./window.ts";

export interface ExecutorOptions {
  readonly runtime: Runtime;
  readonly store: RunStore;
  readonly messages: Messages;
  readonly hostId: string;
  readonly log: Log;
  /** Without it nobody is told but the log. */
  readonly observe?: ObserveAttempt;
  /** What secrets are opened with. */
  readonly keyring?: Keyring | undefined;
}

/** What an attempt that runs here can be told by. */
interface Ears {
  readonly ending: Ending;
  readonly resized: Bell;
  /** While its program may be sent signals. */
  sandbox?: Sandbox | undefined;
}

/** What an attempt gathers on its way, for its receipt. */
interface Gathered {
  imageDigest?: string;
  ran?: boolean;
  end?: SandboxEnd;
  stdout?: StreamFacts;
  stderr?: StreamFacts;
}

export class Executor {
  readonly #options: ExecutorOptions;
  readonly #running = new Map<string, Ears>();
  readonly #observe: ObserveAttempt;

  constructor(options: ExecutorOptions) {
    this.#options = options;
    this.#observe = options.observe ?? attemptObserver(untold());
  }

  /** Does as it is told about an attempt that runs here; any other id is not ours and is left alone. */
  obey(order: RunOrder): void {
    const ears = this.#running.get(order.run);
    switch (order.verb) {
      case "cancel":
        return ears?.ending.because({ kind: "cancelled" });
      case "force-cancel":
        ears?.ending.hurry(); // First, so that there is no grace to begin with.
        return ears?.ending.because({ kind: "cancelled" });
      case "resize":
        return ears?.resized.ring();
      case "signal":
        if (ears?.sandbox) send(ears.sandbox, order.signal);
    }
  }

  /** Orders may have been missed: a size is in the record, a cancellation is told with the lease, a signal is lost. */
  lookAgain(): void {
    for (const { resized } of this.#running.values()) resized.ring();
  }

  /** Ends every attempt at once, collecting too; each that has no reason or end yet is given up. */
  abandonAll(): void {
    for (const { ending } of this.#running.values()) ending.abandon();
  }

  /** Resolves when the attempt is recorded (or given up) and nothing of it is left on this host. Never rejects. */
  async execute(given: RunRecord, takenAtMs: number): Promise<void> {
    const { store, log } = this.#options;
    const observed = this.#observe(given);
    const { record } = observed;
    const attempt = { id: record.id, attempt: record.attempt };
    const plan = planRun(record.request);
    const ending = new Ending();
    const ears: Ears = { ending, resized: new Bell() };
    const scope = new Scope();
    const watch = new Stopwatch();
    const gathered: Gathered = {};
    watch.phases.queue = (record.claimedAt ?? record.queuedAt) - record.queuedAt;
    this.#running.set(record.id, ears);
    const lease = new Lease({ takenAtMs, ending, renew: () => store.renew(attempt) });

    let verdict: Verdict;
    try {
      const end = await this.#run({ record, plan, ending, ears, scope, watch, gathered, lease });
      verdict = judgeEnd(end, ending.reason, plan);
    } catch (error) {
      verdict = judgeError(error, ending.reason);
      if (plan.artifacts) void dropArtifacts(store.artifacts(attempt)); // Redis has it before the attempt's end.
    }
    watch.stop();
    const receipt = this.#receipt(record, watch, gathered);
    const again = "outcome" in verdict ? tryAgain(record, plan, verdict.outcome) : undefined;
    const named = { run: record.id, tenant: record.tenant, image: record.request.image };
    const recorded = { ...named, ...receipt, ...verdict, backoffMs: again?.backoffMs, ...observed.ids };
    const isRecorded = await this.#record(attempt, { verdict, receipt, gathered, scope, again }).catch((error) =>
      log.error("run.unrecorded", { run: record.id, error }),
    );
    observed.end(verdict, receipt, isRecorded === true);
    lease.stop();
    for (const failure of await scope.close()) log.error("sandbox.not_removed", { run: record.id, ...failure });
    if (this.#running.get(record.id) === ears) this.#running.delete(record.id);
    log.info("run.ended", recorded);
  }

  async #run(work: Work): Promise<SandboxEnd> {
    const { record, plan, ending, ears, scope, watch, gathered, lease } = work;
    const { runtime } = this.#options;
    ending.signal.throwIfAborted();
    const stopStartClock = ending.after("start", plan.timeouts.startMs);
    scope.add("start clock", stopStartClock);

    watch.enter("pull");
    const image = await this.#pull(work);
    scope.add("image", () => image.release()); // Last of all, when nothing stands on it any more.
    gathered.imageDigest = image.digest;

    watch.enter("prepare");
    const secrets = await openSecrets(record, this.#options.keyring, (of) => this.#options.store.sealed(of));
    const brought = await openBrought(record, this.#options.store);
    const deadlineMs = lease.remainingMs;
    const spec = sandboxSpec({ record, plan, image, deadlineMs, secrets, brought: brought.spec });
    const guard = (extend: (ms: number) => void) => lease.guard(extend);
    const sandbox = await runtime.openSandbox(spec, ending.signal, guard).catch(brought.explain);
    scope.add("sandbox", () => sandbox.close());
    watch.enter("run");
    splitStart(watch, sandbox);
    stopStartClock();
    const stopRunClock = ending.after("run", plan.timeouts.runMs);
    scope.add("run clock", stopRunClock);
    const stopStopping = stopOn(ending, sandbox, plan.timeouts.graceMs);
    scope.add("stop", stopStopping);

    if (sandbox.programStarted) ears.sandbox = sandbox;
    this.#followWindow(work, sandbox, spec.terminal);
    // Sent before anything that the program writes and before its end, and so stored as `running`: Redis does one after the other.
    gathered.ran = sandbox.programStarted;
    const told = sandbox.programStarted ? this.#tellStarted(work) : undefined;
    const artifacts = this.#collect(work, sandbox);
    const collected = Promise.all([this.#keep(work, sandbox), this.#feed(work, sandbox), artifacts]);
    // Output that can no longer be stored ends the attempt, too: nobody would ever see what the program does.
    await Promise.race([sandbox.programEnded, Promise.all([told, collected]).then(() => sandbox.programEnded)]);
    ears.sandbox = undefined;
    ending.settle();
    stopRunClock();
    stopStopping();
    scope.add("collecting", boundCollecting(sandbox, ending));
    watch.enter("collect");
    gathered.end = await sandbox.ended;
    await collected;
    return gathered.end;
  }

  async #collect({ record, plan }: Work, sandbox: Sandbox): Promise<void> {
    if (!plan.artifacts) return;
    const lost = (error: unknown) => this.#options.log.warn("artifacts.lost", { run: record.id, error });
    await collectArtifacts(sandbox, plan.artifacts, { sink: this.#options.store.artifacts(record), lost });
  }

  async #pull({ record, ending }: Work): Promise<HeldImage> {
    const { runtime, store } = this.#options;
    const { image, pull } = record.request;
    const report = new PullReport((pulling) => store.pulling(record, pulling));
    try {
      return await runtime.ensureImage(image, ending.signal, { pull, onProgress: (layer) => report.hear(layer) });
    } finally {
      report.end();
    }
  }

  /** A hold that was lost meanwhile is noticed here, first of all. */
  async #tellStarted({ record, ending }: Work): Promise<void> {
    if (!(await this.#options.store.started(record))) ending.because({ kind: "lease_lost" });
  }

  async #keep({ record, plan, gathered }: Work, sandbox: Sandbox): Promise<void> {
    const keep = (name: "stdout" | "stderr") =>
      keepOutput(sandbox[name], plan.limits.outputBytes, (offset, bytes) =>
        this.#options.store.append(record, name, offset, bytes),
      );
    [gathered.stdout, gathered.stderr] = await Promise.all([keep("stdout"), keep("stderr")]);
  }

  async #feed({ record }: Work, sandbox: Sandbox): Promise<void> {
    if (record.request.stdin === undefined) return void sandbox.stdin.end();
    const { store, messages } = this.#options;
    const source = {
      read: (offset: number, length: number) => store.readStdin(record.id, offset, length),
      // Input that was all there at the start needs no ear.
      listen: (wake: () => void) =>
        record.stdinClosed ? Promise.resolve(async () => {}) : messages.onInput(record.id, wake),
    };
    await feedInput(sandbox.stdin, source, endOf(sandbox));
  }

  /** Nothing waits for it: a program whose window is not what it should be goes on all the same. */
  #followWindow({ record, ears }: Work, sandbox: Sandbox, size: TerminalSize | undefined): void {
    if (!size) return;
    const read = () => this.#options.store.terminalSize(record.id);
    const resize = (latest: TerminalSize) => sandbox.resize(latest);
    followWindow({ size, read, bell: ears.resized, resize }, endOf(sandbox)).catch((error) =>
      this.#options.log.warn("window.unknown", { run: record.id, error }),
    );
  }

  #receipt(record: RunRecord, watch: Stopwatch, { imageDigest, end }: Gathered): Receipt {
    const { hostId, runtime } = this.#options;
    const { phases } = watch;
    return { imageDigest, host: hostId, driver: runtime.driver, attempt: record.attempt, phases, ...end?.usage };
  }

  /** Whether its outcome is the run's. One that is given up may start elsewhere at once, so nothing of it may be left here by then. */
  async #record(attempt: Attempt, { verdict, receipt, gathered, scope, again }: Result): Promise<boolean> {
    const { store } = this.#options;
    if ("outcome" in verdict) {
      const { ran = false, stdout, stderr, end } = gathered;
      // What ended without the program's end being seen may only be tried again once nothing is left, as what is given up.
      const isOver = !again || end !== undefined || (await scope.close()).length === 0;
      if (!isOver) return false;
      const ended = { outcome: verdict.outcome, receipt, ran, stdout, stderr, again };
      return (await store.finish(attempt, ended)) && !again;
    }
    if ((await scope.close()).length === 0) await store.release(attempt, verdict.giveUp);
    return false; // If it is not released its lease runs out, before which the sandbox's own deadline has passed.
  }
}

interface Result {
  readonly verdict: Verdict;
  readonly receipt: Receipt;
  readonly gathered: Gathered;
  readonly scope: Scope;
  readonly again: Ended["again"];
}

interface Work {
  readonly record: RunRecord;
  readonly plan: RunPlan;
  readonly ending: Ending;
  readonly ears: Ears;
  readonly scope: Scope;
  readonly watch: Stopwatch;
  readonly gathered: Gathered;
  readonly lease: Lease;
}

/** Undefined if that was the run's last attempt. */
function tryAgain({ request, retried }: RunRecord, plan: RunPlan, outcome: Outcome): Ended["again"] {
  const ms = backoffMs(request.retry, { outcome, retried });
  return ms === undefined ? undefined : { backoffMs: ms, queueMs: plan.timeouts.queueMs };
}

/** Aborts when the sandbox's program has ended, however it did. */
function endOf(sandbox: Sandbox): AbortSignal {
  const over = new AbortController();
  sandbox.ended.finally(() => over.abort()).catch(() => {}); // Whoever awaits `ended` is told why.
  return over.signal;
}

function send(sandbox: Sandbox, signal: RunSignal): void {
  if (signal === "SIGKILL") sandbox.killProgram();
  else sandbox.signal(signal);
}

/** The driver knows what part of making the sandbox was starting the program in it. */
function splitStart({ phases }: Stopwatch, { startMs }: Sandbox): void {
  phases.start = roundMs(startMs);
  phases.prepare = roundMs(Math.max(0, (phases.prepare ?? 0) - startMs));
}
