// Leaving in order: take nothing more, let what runs come to its end, and at the limit give up what is left.

import type { Log } from "../core/log.ts";
import type { Executor } from "./executor.ts";
import type { Heartbeat } from "./host-record.ts";
import type { Intake } from "./intake.ts";
import type { Offers } from "./offers.ts";

export interface DrainOptions {
  readonly offers: Offers;
  readonly intake: Intake;
  readonly executor: Executor;
  readonly heartbeat: Heartbeat;
  readonly limitMs: number;
  readonly log: Log;
}

/** Resolves when nothing runs here any more: within the limit, and the time that killing what is left takes. */
export async function drain({ offers, intake, executor, heartbeat, limitMs, log }: DrainOptions): Promise<void> {
  const limit = setTimeout(() => {
    log.warn("worker.drain_limit", { limitMs });
    executor.abandonAll();
  }, limitMs);
  offers.stop();
  void heartbeat.drain(); // Redis may be away: then nobody hears it, and nothing waits for it.
  await offers.idle();
  log.info("worker.draining", { limitMs }); // From now on nothing comes any more.
  await intake.idle();
  clearTimeout(limit);
}
