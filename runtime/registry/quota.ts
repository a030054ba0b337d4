// How many requests a registry still grants, told to the operator before there are none left.
//
//   Docker Hub:                    ratelimit-limit: 100;w=21600      ratelimit-remaining: 7;w=21600
//   draft-ietf-httpapi-ratelimit:  RateLimit-Limit: 60               RateLimit-Remaining: 4       RateLimit-Reset: 37

import type { Log } from "../../core/log.ts";
import { Until } from "./until.ts";

/** Remaining below this share of the limit is low, and so is below a pull or two where no limit is told. */
const LOW_SHARE = 0.1;
const LOW_COUNT = 10;

/** The longest time for which a host's low quota is not told again: Docker Hub's window. */
const MAX_QUIET_MS = 21_600_000;

export interface Quota {
  readonly remaining: number;
  readonly limit: number | undefined;
  /** Until it is granted anew, or the length of the window; whichever is told. */
  readonly windowS: number | undefined;
}

/** Undefined if the answer says nothing of a quota, or nothing that can be read. */
export function quotaOf(header: (name: string) => string | undefined): Quota | undefined {
  const [remaining, window] = numbersOf(header("ratelimit-remaining"));
  if (remaining === undefined) return undefined;
  const [limit, limitWindow] = numbersOf(header("ratelimit-limit"));
  const [reset] = numbersOf(header("ratelimit-reset"));
  return { remaining, limit, windowS: reset ?? window ?? limitWindow };
}

export function isLow({ remaining, limit }: Quota): boolean {
  return remaining < (limit === undefined ? LOW_COUNT : limit * LOW_SHARE);
}

/** Logs each host's low quota once a window. */
export class QuotaWatch {
  readonly #quiet = new Until();
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  hear(host: string, header: (name: string) => string | undefined): void {
    const quota = quotaOf(header);
    if (!quota || !isLow(quota) || this.#quiet.leftMs(host) > 0) return;
    this.#quiet.set(host, Math.min((quota.windowS ?? 0) * 1_000, MAX_QUIET_MS) || MAX_QUIET_MS);
    this.#log.warn("registry.quota_low", { host, ...quota });
  }
}

/** Of `76;w=21600`: the number, and the window's seconds. */
function numbersOf(text = ""): [number?, number?] {
  const [, count, window] = /^\s*(\d{1,9})\s*(?:[,;].*?\bw=(\d{1,9}))?/.exec(text) ?? [];
  return count === undefined
    ? []
    : [Number(count), ...(window === undefined ? ([] as []) : ([Number(window)] as const))];
}
