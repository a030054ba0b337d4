// The hosts of the cluster as the gateway sees them: who lives, and what is asked of their images.

import type { Readable } from "node:stream";
import type { z } from "zod";
import { MayflyError, toMayflyError } from "../../core/errors.ts";
import type { HostRecord } from "../../core/host.ts";
import type { ClusterSecret } from "../../core/host-token.ts";
import { type HostFailure, type HostPullEvent, PullEvent } from "../../core/images.ts";
import { type HostCall, HostClient, hostError, unavailable } from "./host-client.ts";
import { readLines } from "./lines.ts";
import type { RunStore } from "./run-store.ts";

/** A question that a host answers from what it has in mind. One that takes longer is told as an error of its own. */
export const ANSWER_MS = 5_000;

/** Work that a caller waits for: shorter than the 5 minutes after which many HTTP clients give up. */
export const WORK_MS = 240_000;

/** Work of any length, that is told of while it goes on. */
export const LONG_WORK_MS = 6 * 3_600_000;

/** While work goes on: how often it is looked whether its host still tells of itself. */
const LOOK_MS = 5_000;

/** Pulls, checks and archives under way at one gateway. */
const MAX_STREAMS = 64;

export interface HostsOptions {
  readonly store: Pick<RunStore, "hosts">;
  readonly secret: ClusterSecret;
  readonly answerMs?: number;
}

export class Hosts {
  readonly #store: HostsOptions["store"];
  readonly #client: HostClient;
  readonly #answerMs: number;
  #streams = 0;

  constructor({ store, secret, answerMs = ANSWER_MS }: HostsOptions) {
    this.#store = store;
    this.#client = new HostClient(secret);
    this.#answerMs = answerMs;
  }

  /** Those of these names, or all that live, by name. Errors: `host_not_found`. */
  async living(names?: readonly string[]): Promise<HostRecord[]> {
    const hosts = (await this.#store.hosts()).toSorted((a, b) => (a.id < b.id ? -1 : 1));
    if (!names) return hosts;
    return [...new Set(names)].map((name) => {
      const host = hosts.find(({ id }) => id === name);
      if (!host) throw new MayflyError("host_not_found", `there is no host ${JSON.stringify(name)}`);
      return host;
    });
  }

  /** Asks one host. Errors: `host_unavailable`, the host's own. */
  ask<T>(host: HostRecord, schema: z.ZodType<T>, call: Omit<HostCall, "answerMs"> & { answerMs?: number }): Promise<T> {
    return this.#whileThere(host, call.signal, (signal) =>
      this.#client.ask(host, schema, { answerMs: this.#answerMs, ...call, signal }),
    );
  }

  /** The body of a host's answer, as it comes. */
  async open(host: HostRecord, call: HostCall): Promise<Readable> {
    return this.#whileThere(host, call.signal, (signal) => this.#client.open(host, { ...call, signal }));
  }

  /** A process that hangs keeps its connections; but its record goes, as that of one that was killed. */
  async #whileThere<T>(host: HostRecord, signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const gone = new AbortController();
    const look = async () => {
      const hosts = await this.#store.hosts();
      if (!hosts.some(({ id }) => id === host.id)) gone.abort(unavailable(host, "has gone"));
    };
    const timer = setInterval(() => void look().catch(() => {}), LOOK_MS); // Without Redis nobody knows who is gone.
    try {
      return await work(AbortSignal.any([signal, gone.signal]));
    } finally {
      clearInterval(timer);
    }
  }

  /** Has an image pulled by a host, and tells how it goes. The last event is `ready` or `failed`; nothing is thrown but the signal's reason. */
  async *pull(host: HostRecord, request: object, signal: AbortSignal): AsyncGenerator<HostPullEvent, void> {
    try {
      // The answer begins before the pull does, and is then never silent for long.
      const call = { method: "POST", path: "/images/pull", json: request, signal, answerMs: this.#answerMs } as const;
      const body = await this.#client.open(host, call);
      for await (const line of readLines(body)) {
        const event = line.startsWith("data: ") && PullEvent.safeParse(JSON.parse(line.slice("data: ".length))).data;
        if (!event) continue;
        yield { host: host.id, ...event };
        if (event.kind !== "layer") return;
      }
      throw unavailable(host, "broke off in the middle of a pull");
    } catch (thrown) {
      signal.throwIfAborted();
      const { reason, message } = toMayflyError(thrown);
      const told =
        reason === "bug" ? hostError(host.id, "host_unavailable", "broke off in the middle of a pull") : undefined;
      yield { host: host.id, kind: "failed", reason: told?.reason ?? reason, message: told?.message ?? message };
    }
  }

  /** Counts work that is told of while it goes on. Errors: `too_many_waiters`. Returns the way to be counted no more. */
  enter(): () => void {
    if (this.#streams >= MAX_STREAMS)
      throw new MayflyError("too_many_waiters", `${MAX_STREAMS} pulls and archives are under way at this gateway`);
    this.#streams++;
    return () => void this.#streams--;
  }

  close(): Promise<void> {
    return this.#client.close();
  }
}

/** What a host did, or why it did not: the failure of one is not the failure of all. */
export async function settled<T extends object>(
  host: HostRecord,
  work: () => Promise<T>,
): Promise<({ host: string } & T) | HostFailure> {
  try {
    return { host: host.id, ...(await work()) };
  } catch (thrown) {
    return { host: host.id, error: failureOf(thrown) };
  }
}

export function failureOf(thrown: unknown): HostFailure["error"] {
  const { code, reason, message } = toMayflyError(thrown);
  return { code, reason, message: code === "internal" ? "the fault is in the host's log" : message };
}
