// One GET, as the registry client needs it: time limits, bounded retries, redirects that do not carry credentials away.
// Knows HTTP, and nothing of registries.

import { setTimeout as sleep } from "node:timers/promises";
import { MayflyError } from "../../core/errors.ts";
import { type Answer, answerOf, networkError, unreachable } from "./answer.ts";
import type { PlainHttpPolicy } from "./origin.ts";
import { TimeLimitError, Watchdog } from "./watchdog.ts";

export interface TransportLimits {
  /** One attempt: until the headers are there, and all of a body that is read whole. */
  readonly requestMs: number;
  /** Until the next chunk of a body that is read as it comes. There is no limit for all of it: the caller's signal has one. */
  readonly idleMs: number;
  /** Waits before the second, third … attempt. Their number bounds the attempts. */
  readonly retryDelaysMs: readonly number[];
}

/** Three attempts within about two seconds: a restart of a proxy is bridged, and a run does not wait for a dead registry. */
export const TRANSPORT_LIMITS: TransportLimits = { requestMs: 15_000, idleMs: 30_000, retryDelaysMs: [300, 1_200] };

/** Registries redirect once, to their storage; some add a hop for a region. */
const MAX_REDIRECTS = 5;

const REDIRECTS = [301, 302, 303, 307, 308];

/** Names in lower case. */
export type Headings = Readonly<Record<string, string>>;

export interface Transport {
  /**
   * Asks, and asks again on a network error or a 5xx, never on anything else. `Authorization` stays with the origin of `url`.
   * Errors: `registry_unavailable` when nothing answers; the last 5xx is returned as it is. The signal's reason when it aborts.
   */
  get(url: URL, headers: Headings, signal: AbortSignal): Promise<Answer>;
}

export function createTransport(policy: PlainHttpPolicy, limits: TransportLimits = TRANSPORT_LIMITS): Transport {
  const attempt = (url: URL, headers: Headings, signal: AbortSignal) =>
    follow(url, headers, { policy, limits, signal });
  return {
    async get(url, headers, signal) {
      for (const delayMs of limits.retryDelaysMs) {
        const answer = await attempt(url, headers, signal).catch(retryable);
        if (answer !== undefined && answer.status < 500) return answer;
        await answer?.discard();
        await sleep(delayMs, undefined, { signal }).catch(() => signal.throwIfAborted());
      }
      return attempt(url, headers, signal);
    },
  };
}

/** Undefined for a network error, which another attempt may not meet. After a time limit there is no time for another. */
function retryable(error: unknown): undefined {
  const isNetworkError = error instanceof MayflyError && error.reason === "registry_unavailable";
  if (isNetworkError && !(error.cause instanceof TimeLimitError)) return undefined;
  throw error;
}

interface Attempt {
  readonly policy: PlainHttpPolicy;
  readonly limits: TransportLimits;
  readonly signal: AbortSignal;
}

/** Once another origin has had a say in where to go, the credentials stay behind, even on the way back. */
async function follow(start: URL, headers: Headings, attempt: Attempt): Promise<Answer> {
  let url = start;
  let sent = headers;
  for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
    if (!attempt.policy.allows(url, start))
      throw unreachable(url, new Error("plain HTTP is not allowed for this host"));
    const answer = await ask(url, sent, attempt);
    const location = answer.headers.get("location");
    if (!REDIRECTS.includes(answer.status) || location === null || !URL.canParse(location, url)) return answer;
    await answer.discard();
    url = withoutLogin(new URL(location, url));
    if (url.origin !== start.origin) sent = withoutCredentials(headers);
  }
  throw unreachable(start, new Error(`more than ${MAX_REDIRECTS} redirects`));
}

/** A login in an address would be sent, and told in errors; ours are never there, and nobody else's are wanted. */
export function withoutLogin(url: URL): URL {
  url.username = "";
  url.password = "";
  return url;
}

function withoutCredentials(headers: Headings): Headings {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => name !== "authorization"));
}

/** Content is asked for as it is: its digest is that of the bytes in the registry, not of a coding on the way. */
async function ask(url: URL, headers: Headings, { limits, signal }: Attempt): Promise<Answer> {
  const watchdog = new Watchdog(signal);
  const init = {
    headers: { "accept-encoding": "identity", ...headers },
    redirect: "manual",
    signal: watchdog.signal,
  } as const;
  watchdog.allow(limits.requestMs);
  try {
    return answerOf(await fetch(url, init), { url, signal, watchdog, idleMs: limits.idleMs });
  } catch (error) {
    watchdog.stop();
    throw networkError(url, error, signal);
  }
}
