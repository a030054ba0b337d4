// What is to be told, and how far that is. Every gateway works on the same one; see outbox-scripts.ts for what keeps them apart.

import { wallTime } from "../../core/clock.ts";
import { keys } from "../../core/keys.ts";
import type { Transition } from "../../core/transition-parts.ts";
import type { Deliveries, DeliveryAttempt } from "../../core/webhook.ts";
import * as scripts from "./outbox-scripts.ts";
import type { Verdict } from "./schedule.ts";

/** Runs a script in Redis. Throws `queue_unavailable` if Redis is away. */
export type RunScript = (
  script: Transition,
  names: readonly string[],
  args: readonly (string | number)[],
) => Promise<unknown>;

/** An attempt that this gateway is to make, and has alone until its lease is over. */
export interface Claim {
  /** Such as `run:<id>`. */
  readonly entry: string;
  /** Of the receiver, with its port if that is not the scheme's. */
  readonly host: string;
  readonly tenant: string;
  /** From 1, of all that were ever made. */
  readonly attempt: number;
  /** From 1, of the present schedule. */
  readonly tries: number;
  /** By Redis' clock. */
  readonly atMs: number;
}

/** How much may be claimed: in all, and by how many are under way already, such as `host example.com`. */
export interface Room {
  /** How many of those that are due are passed over, the longest due first: they have been looked at. */
  readonly offset: number;
  readonly max: number;
  readonly perHost: number;
  readonly perTenant: number;
  readonly underWay: ReadonlyMap<string, number>;
}

export type Outcome = Omit<DeliveryAttempt, "attempt" | "at">;

export class Outbox {
  readonly #run: RunScript;
  readonly #leaseMs: number;

  /** The lease must exceed the longest attempt and what it takes to write down what came of it. */
  constructor(run: RunScript, leaseMs: number) {
    this.#run = run;
    this.#leaseMs = leaseMs;
  }

  /** Looks at one page. `more` says that there may be more behind it. */
  async claim({ offset, max, perHost, perTenant, underWay }: Room): Promise<{ claims: Claim[]; more: boolean }> {
    const args = [offset, max, this.#leaseMs, perHost, perTenant, ...[...underWay].flat()];
    const [atMs, more, ...claimed] = (await this.#run(scripts.claim, [keys.webhooks], args)) as [
      number,
      string,
      ...[entry: string, host: string, tenant: string, attempt: number, tries: number][],
    ];
    const claims = claimed.map(([entry, host, tenant, attempt, tries]) => ({
      entry,
      host,
      tenant,
      attempt,
      tries,
      atMs,
    }));
    return { claims, more: more === "1" };
  }

  /** False if the lease was over, and another gateway has begun an attempt since: what is next is that one's to say. */
  async settle({ entry, attempt, atMs }: Claim, outcome: Outcome, verdict: Verdict): Promise<boolean> {
    const delay = verdict.state === "pending" ? verdict.delayMs : "";
    const args = [entry, attempt, JSON.stringify({ at: atMs, ...outcome }), verdict.state, delay];
    return (await this.#run(scripts.settle, [keys.webhooks, keys.deliveries(entry)], args)) === 1;
  }

  /** Has it told once more, soon. False if it is not kept any more. Safe to repeat. */
  async retry(entry: string): Promise<boolean> {
    const names = [keys.webhooks, keys.deliveries(entry), keys.subject(entry)];
    return (await this.#run(scripts.retry, names, [entry])) === 1;
  }

  /** Of an entry that was added at some time: what came of it so far. */
  async read(entry: string): Promise<Pick<Deliveries, "state" | "nextAttemptAt" | "attempts">> {
    const names = [keys.webhooks, keys.deliveries(entry)];
    const [due, flat] = (await this.#run(scripts.read, names, [entry])) as [string, string[]];
    const fields = new Map<string, string>();
    for (let i = 0; i + 1 < flat.length; i += 2) fields.set(String(flat[i]), String(flat[i + 1]));
    const state = fields.get("state") === "delivered" ? "delivered" : "failed";
    return {
      state: due === "" ? state : "pending",
      // Of an attempt that is under way, the moment is the end of its lease.
      ...(due === "" || fields.has("underWay") ? {} : { nextAttemptAt: wallTime(Number(due)) }),
      attempts: attemptsOf(fields),
    };
  }
}

function attemptsOf(fields: ReadonlyMap<string, string>): DeliveryAttempt[] {
  return [...fields]
    .filter(([name]) => name.startsWith("attempt:"))
    .map(([name, text]) => {
      const { at, ...outcome } = JSON.parse(text) as Outcome & { at: number };
      return { attempt: Number(name.slice("attempt:".length)), at: wallTime(at), ...outcome };
    })
    .toSorted((a, b) => a.attempt - b.attempt);
}
