// One HTTP exchange with the gateway: address and key in, a good answer or a ClientError out.

import { invalidAnswer, isClientError, parseRetryAfter, refused, unreachable } from "./client-error.ts";
import { createPatience } from "./patience.ts";

export interface ClientOptions {
  /** Of the gateway, such as `http://127.0.0.1:8080`; a path in it is kept as a prefix. */
  readonly url: string;
  readonly apiKey?: string | undefined;
  /** Tries beyond the first of what is safe to repeat; 3 by default, 0 for none. */
  readonly retries?: number | undefined;
  /** Whether a run that is made is given an `Idempotency-Key`, so that it is safe to ask for it again. */
  readonly idempotency?: Idempotency | undefined;
  /** Stands in for the global `fetch`, in tests or to go through a proxy. */
  readonly fetch?: typeof globalThis.fetch | undefined;
}

/** `auto`: the client makes a key for each run. */
export type Idempotency = "auto" | "off";

export const DEFAULT_IDEMPOTENCY: Idempotency = "auto";

export interface Call {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | readonly string[] | undefined>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** A stream is sent as it comes. */
  readonly body?: string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>;
  readonly signal?: AbortSignal | undefined;
  /** For a caller with a patience of its own. */
  readonly once?: boolean | undefined;
  /** Of a POST: obeying it twice is the same as obeying it once. */
  readonly isRepeatable?: boolean;
}

/**
 * Resolves to an answer with a 2xx status. A GET, and what is marked as repeatable, is tried again if the connection fails or the
 * gateway has no room now; any other POST never is.
 */
export type Send = (call: Call) => Promise<Response>;

const RETRIES = 3;

export function createSend(options: ClientOptions): Send {
  const exchange = (call: Call) => exchangeOnce(options, call);
  return async (call) => {
    // A POST could have been obeyed before its connection broke.
    if ((call.method !== "GET" && !call.isRepeatable) || call.once) return exchange(call);
    const patience = createPatience({ limit: options.retries ?? RETRIES, signal: call.signal });
    for (;;) {
      try {
        return await exchange(call);
      } catch (error) {
        call.signal?.throwIfAborted();
        // More work is not insisted on where there is too much already: that is the caller's to decide.
        if (call.method !== "GET" && isClientError(error) && error.code === "resource_exhausted") throw error;
        await patience.afterFailure(error);
      }
    }
  };
}

/** The body as JSON. Throws ClientError `answer_invalid` if it is none, `gateway_unreachable` if it broke off. */
export async function readJson(response: Response): Promise<unknown> {
  let text: string;
  try {
    text = await response.text();
  } catch (error) {
    throw unreachable(response.url, error);
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw invalidAnswer(`the gateway answered ${response.status} with a body that is not JSON`, {
      status: response.status,
      cause,
    });
  }
}

async function exchangeOnce(options: ClientOptions, call: Call): Promise<Response> {
  const url = address(options.url, call);
  const { fetch = globalThis.fetch } = options;
  let response: Response;
  try {
    response = await fetch(url, init(options, call));
  } catch (error) {
    call.signal?.throwIfAborted();
    throw unreachable(options.url, error);
  }
  if (response.ok) return response;
  throw refused(response.status, await problemBody(response), parseRetryAfter(response.headers.get("retry-after")));
}

function init(options: ClientOptions, call: Call): RequestInit {
  const authorization = options.apiKey === undefined ? {} : { authorization: `Bearer ${options.apiKey}` };
  return {
    method: call.method,
    headers: { accept: "application/json", ...authorization, ...call.headers },
    // The API never redirects, and a POST that a redirect turned into a GET would seem to succeed.
    redirect: "manual",
    ...(call.body === undefined ? {} : { body: call.body }),
    ...(call.body instanceof ReadableStream ? { duplex: "half" } : {}),
    ...(call.signal ? { signal: call.signal } : {}),
  };
}

function address(base: string, call: Call): URL {
  const url = new URL(base);
  url.pathname = url.pathname.replace(/\/$/, "") + call.path;
  for (const [name, value] of Object.entries(call.query ?? {})) {
    if (typeof value === "object") for (const each of value) url.searchParams.append(name, each);
    else if (value !== undefined) url.searchParams.set(name, String(value));
  }
  return url;
}

/** Undefined for a body that cannot be read: the status has been told, and is what matters. */
async function problemBody(response: Response): Promise<unknown> {
  try {
    return JSON.parse(await response.text());
  } catch {
    return undefined;
  }
}
