// One request, as the registry client needs it: time limits, bounded retries, waiting where a host asks for it, redirects that
// neither carry credentials away nor lead inwards. Knows HTTP, and nothing of registries.

import { setTimeout as sleep } from "node:timers/promises";
import { request as send } from "undici";
import { isMayflyError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import { VERSION } from "../../core/version.ts";
import { createAgents, MAX_CONNECTIONS_PER_ORIGIN, type Route } from "./agents.ts";
import { type Answer, answerOf, type BodyLimits, networkError, unreachable } from "./answer.ts";
import { isCertificateError } from "./certificates.ts";
import { Gate, retryAfterMs } from "./gate.ts";
import type { OriginPolicy } from "./origin.ts";
import { QuotaWatch } from "./quota.ts";
import { Turns } from "./turns.ts";
import { TimeLimitError, Watchdog } from "./watchdog.ts";

export interface TransportLimits extends BodyLimits {
  /** One attempt: until the headers are there, and all of a body that is read whole. For a body that is read as it comes, see BodyLimits. */
  readonly requestMs: number;
  /** Waits before the second, third … attempt. Their number bounds the attempts. */
  readonly retryDelaysMs: readonly number[];
  /** The longest that a request waits where a host asks it to (`Retry-After`); told to wait longer, it fails. */
  readonly maxWaitMs: number;
}

/**
 * Three attempts within about two seconds: a restart of a proxy is bridged, and a run does not wait for a dead registry.
 * 4 KiB/s is a tenth of a modem that nobody has any more: what sends less is broken, or holds us up on purpose.
 */
export const TRANSPORT_LIMITS: TransportLimits = {
  requestMs: 15_000,
  idleMs: 30_000,
  minBytesPerS: 4_096,
  rateWindowMs: 30_000,
  retryDelaysMs: [300, 1_200],
  maxWaitMs: 10_000,
};

/** Registries redirect once, to their storage; some add a hop for a region. */
const MAX_REDIRECTS = 5;

/** Of the connections to one server, those that are never a download's: a manifest must not wait behind layers that take minutes. */
const CONNECTIONS_FOR_SMALL = 8;

const REDIRECTS = [301, 302, 303, 307, 308];

/** Names in lower case. */
export type Headings = Readonly<Record<string, string>>;

export interface Request {
  /** `GET` if it says nothing. A `POST` is never redirected: its body is a secret. */
  readonly method?: "GET" | "HEAD" | "POST";
  readonly headers: Headings;
  readonly body?: string;
  /** Whose answer led to the URL; without one the caller chose it. What a registry may lead to is bounded (origin.ts). */
  readonly from?: URL;
  /** Its body is read as it comes, and may take long. */
  readonly isDownload?: boolean;
  /** One attempt and no waiting: there is another server that has the same. */
  readonly hasty?: boolean;
  readonly signal: AbortSignal;
}

export interface Transport {
  /**
   * Asks, and asks again on a network error, a 5xx, or when told to come back later. `Authorization` stays with the origin of `url`.
   * Errors: `registry_unavailable` when nothing answers, or the host wants to be left alone for too long; the last 5xx or 429 is
   * returned as it is. The signal's reason when it aborts.
   */
  send(url: URL, request: Request): Promise<Answer>;
}

export interface TransportOptions {
  readonly policy: OriginPolicy;
  readonly limits: TransportLimits;
  /** See certificates.ts. */
  readonly certsDir?: string | undefined;
  readonly log: Log;
}

export function createTransport(options: TransportOptions): Transport {
  const { limits, policy } = options;
  const ask = createAsker(options);
  return {
    async send(url, request) {
      for (const delayMs of request.hasty ? [] : limits.retryDelaysMs) {
        const answer = await follow(url, request, { policy, ask }).catch(retryable);
        if (answer && !isWorthAnother(answer)) return answer;
        await answer?.discard();
        await sleep(delayMs, undefined, { signal: request.signal }).catch(() => request.signal.throwIfAborted());
      }
      return follow(url, request, { policy, ask });
    },
  };
}

/** One that says when to come back is asked again then: its gate is closed until that time. */
function isWorthAnother(answer: Answer): boolean {
  return answer.status >= 500 || (answer.status === 429 && retryAfterMs(answer) !== undefined);
}

/** Undefined for a network error, which another attempt may not meet. A time limit and a certificate leave no hope for that. */
function retryable(error: unknown): undefined {
  const isNetworkError = isMayflyError(error) && error.reason === "registry_unavailable" && error.cause !== undefined;
  if (isNetworkError && !(error.cause instanceof TimeLimitError) && !isCertificateError(error.cause)) return undefined;
  throw error;
}

interface Hop extends Route {
  readonly headers: Headings;
}

type Ask = (url: URL, request: Request, hop: Hop) => Promise<Answer>;

/**
 * Once another origin has had a say in where to go, the credentials stay behind, even on the way back; so does our certificate, once
 * another host has. A registry that is near may lead anywhere, but not whom it leads to.
 */
async function follow(start: URL, request: Request, { policy, ask }: { policy: OriginPolicy; ask: Ask }) {
  let from = request.from ?? start;
  let url = start;
  let headers = request.headers;
  let led = start.hostname !== from.hostname;
  for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
    const objection = policy.whyNot(url, from);
    if (objection !== undefined) throw unreachable(url, new Error(objection));
    const outwards = url.origin !== from.origin && !policy.isNear(from);
    const answer = await ask(url, request, { headers, outwards, led });
    const location = answer.header("location");
    const isRedirect = REDIRECTS.includes(answer.status) && request.method !== "POST";
    if (!isRedirect || location === undefined || !URL.canParse(location, url)) return answer;
    await answer.discard();
    if (policy.isNear(from)) from = url;
    url = withoutLogin(new URL(location, url));
    if (url.origin !== start.origin) headers = withoutCredentials(headers);
    led ||= url.hostname !== start.hostname;
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

/** What all requests share: the connections, whose turn it is, and which hosts want to be left alone. */
function createAsker({ limits, certsDir, log }: TransportOptions): Ask {
  const agents = createAgents(certsDir);
  const small = new Turns(CONNECTIONS_FOR_SMALL);
  const downloads = new Turns(MAX_CONNECTIONS_PER_ORIGIN - CONNECTIONS_FOR_SMALL);
  const gate = new Gate();
  const quotas = new QuotaWatch(log);

  return async (url, request, hop) => {
    const { signal } = request;
    const giveBack = await (request.isDownload ? downloads : small).take(url.origin, signal);
    const watchdog = new Watchdog(signal);
    const close = () => {
      watchdog.stop();
      giveBack();
    };
    try {
      await gate.pass(url.host, request.hasty ? 0 : limits.maxWaitMs, signal);
      watchdog.allow(limits.requestMs);
      const response = await send(url, {
        method: request.method ?? "GET",
        headers: headersFor(hop.headers),
        body: request.body ?? null,
        dispatcher: await agents.to(url.host, hop),
        signal: watchdog.signal,
      });
      // Its reader is told of an error; without a reader nobody needs to be.
      response.body.on("error", () => {}).once("close", close);
      const answer = answerOf(response, { url, signal, watchdog, limits });
      gate.hear(url.host, answer);
      quotas.hear(url.host, answer.header);
      return answer;
    } catch (error) {
      close();
      if (isCertificateError(error)) agents.forget(url.host);
      throw networkError(url, error, signal);
    }
  };
}

/** Content is asked for as it is: its digest is that of the bytes in the registry, not of a coding on the way. */
function headersFor(headers: Headings): Headings {
  return { "accept-encoding": "identity", "user-agent": `mayfly/${VERSION}`, ...headers };
}
