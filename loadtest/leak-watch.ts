// The leak check around a load: what the kernel has of the host before, and that it has no more of it afterwards.

import { setTimeout as delay } from "node:timers/promises";
import { waitUntil } from "../infra/wait.ts";
import { type HostUnderLoad, leaks, type Traces, traces } from "./traces.ts";

/** A run is answered before its sandbox is removed: between two looks that are the same the host has come to rest. */
const REST_MS = 500;
const LIMIT_MS = 30_000;

export class LeakWatch {
  readonly #host: HostUnderLoad;
  #before: Traces | undefined;

  constructor(host: HostUnderLoad) {
    this.#host = host;
  }

  /** To be called when the host has run something: its image and its connections are there from then on. */
  async begin(): Promise<void> {
    this.#before = await waitUntil(() => this.#atRest(), { limitMs: LIMIT_MS });
  }

  /** What has been left for good, in words; empty if nothing. */
  async end(): Promise<string[]> {
    const before = this.#before;
    if (!before) throw new Error("the leak check has not begun");
    let left: Record<string, string[]> = {};
    const look = async () => {
      left = leaks(before, await traces(this.#host));
      if (Object.keys(left).length > 0) throw new Error("the host is not as it was");
    };
    await waitUntil(look, { limitMs: LIMIT_MS }).catch(() => {}); // `left` says it all.
    return Object.entries(left).flatMap(([kind, entries]) => entries.map((entry) => `${kind}: ${entry}`));
  }

  async #atRest(): Promise<Traces> {
    const first = await traces(this.#host);
    await delay(REST_MS);
    const second = await traces(this.#host);
    const change = [...Object.keys(leaks(first, second)), ...Object.keys(leaks(second, first))];
    if (change.length > 0) throw new Error(`the host does not come to rest: ${change.join(", ")}`);
    return second;
  }
}
