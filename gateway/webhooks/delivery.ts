// One attempt: what is told, signed, sent, judged, written down, and told in one line of the log.

import { monotonicMs, roundMs } from "../../core/clock.ts";
import type { EventFields, Log } from "../../core/log.ts";
import { VERSION } from "../../core/version.ts";
import type { Destinations } from "./destinations.ts";
import type { Notice, Source } from "./notice.ts";
import type { Claim, Outbox } from "./outbox.ts";
import { type Answer, post } from "./post.ts";
import { judge, type Verdict } from "./schedule.ts";
import type { Secrets } from "./secrets.ts";
import { sign } from "./signature.ts";

export interface DeliveryOptions {
  readonly outbox: Outbox;
  readonly secrets: Secrets;
  readonly destinations: Destinations;
  /** By what stands before the ":" of an entry. */
  readonly sources: Readonly<Record<string, Source>>;
  readonly maxTries: number;
  readonly timeoutMs: number;
  readonly log: Log;
}

/**
 * Rejects with `queue_unavailable` if Redis is away: the attempt may have been made, and is made again once its lease is over. So it is
 * with one that `signal` ends.
 */
export async function deliver(claim: Claim, options: DeliveryOptions, signal: AbortSignal): Promise<void> {
  const [kind = "", id = ""] = claim.entry.split(":");
  const source = options.sources[kind];
  // A gateway of a later version has written it, and will tell it.
  if (!source) throw new Error(`there is nobody to tell of ${claim.entry}`);
  const notice = await source(id, claim.tenant);
  if (!notice) return; // Its retention is over. The next who looks finds nothing to claim.
  const startedMs = monotonicMs();
  const answer = await send(notice, claim, options, signal);
  if (signal.aborted) return;
  const { status, fault } = answer;
  const ms = roundMs(monotonicMs() - startedMs);
  const { maxTries } = options;
  const verdict = judge(answer, { tries: claim.tries, maxTries, chance: Math.random(), nowMs: claim.atMs });
  const outcome = { ms, ...(status === undefined ? {} : { status }), ...(fault === undefined ? {} : { fault }) };
  const isLatest = await options.outbox.settle(claim, outcome, verdict);
  report(options.log, verdict, {
    ...factsOf(claim),
    delivery: notice.id,
    ...outcome,
    late: isLatest ? undefined : true,
  });
}

async function send(notice: Notice, claim: Claim, options: DeliveryOptions, signal: AbortSignal): Promise<Answer> {
  const { secret, previous } = await options.secrets.get(claim.tenant);
  const { id, body } = notice;
  const epochSeconds = Math.floor(claim.atMs / 1000);
  const headers = {
    "content-type": "application/json",
    "user-agent": `mayfly/${VERSION}`,
    "webhook-id": id,
    "webhook-timestamp": String(epochSeconds),
    "webhook-signature": sign({ id, epochSeconds, body }, [secret, ...previous.map((each) => each.secret)]),
    "mayfly-attempt": String(claim.attempt),
  };
  const { timeoutMs, destinations } = options;
  return post(new URL(notice.url), destinations, { headers, body, timeoutMs, signal });
}

/** Of the URL only its host: what else is in it may be a secret of the receiver's. */
export function factsOf({ entry, host, tenant, attempt, tries }: Claim): EventFields {
  return { entry, host, tenant, attempt, tries };
}

function report(log: Log, verdict: Verdict, fields: EventFields): void {
  if (verdict.state === "delivered") log.info("webhook.delivered", fields);
  else log.warn(`webhook.${verdict.state === "failed" ? "given_up" : "failed"}`, { ...fields, ...verdict });
}
