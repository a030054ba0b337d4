// One request to a receiver, on a connection of its own: what it is connected to has then just been looked at, and no connection that
// the receiver closes meanwhile makes an attempt fail.

import { Client, errors } from "undici";
import type { DeliveryFault } from "../../core/webhook.ts";
import { AddressRefused, type Destinations, NameUnknown } from "./destinations.ts";

/** What a receiver says to a delivery is of no interest; so much of it is taken, so that it may end well. */
const ANSWER_BYTES = 4096;
const HEADER_BYTES = 16_384;

export interface Posting {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** For all of it, from the first question to a name server on. */
  readonly timeoutMs: number;
  /** Ends it before. */
  readonly signal: AbortSignal;
}

export interface Answer {
  readonly status?: number;
  readonly retryAfter?: string | undefined;
  /** There if there was no answer. */
  readonly fault?: DeliveryFault;
}

/** Never throws, and leaves no connection. A redirect is an answer like any other: it is not followed. */
export async function post(url: URL, destinations: Destinations, posting: Posting): Promise<Answer> {
  if (destinations.faultOf(url) !== undefined) return { fault: "address_refused" };
  const { timeoutMs } = posting;
  const client = new Client(url.origin, {
    connect: { lookup: destinations.lookup, timeout: timeoutMs },
    ...{
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      maxHeaderSize: HEADER_BYTES,
      pipelining: 0,
      allowH2: false,
    },
  });
  const clock = new AbortController();
  const timer = setTimeout(() => clock.abort(), timeoutMs);
  try {
    return await exchange(client, url, { ...posting, signal: AbortSignal.any([clock.signal, posting.signal]) });
  } catch (error) {
    return { fault: clock.signal.aborted ? "timed_out" : faultOf(error) };
  } finally {
    clearTimeout(timer);
    await client.destroy();
  }
}

async function exchange(client: Client, url: URL, { headers, body, signal }: Posting): Promise<Answer> {
  const path = url.pathname + url.search;
  const answer = await client.request({ method: "POST", path, headers, body, signal });
  // The status has been told; a body that breaks off or never ends changes nothing.
  await answer.body.dump({ limit: ANSWER_BYTES, signal }).catch(() => {});
  const retryAfter = answer.headers["retry-after"];
  return { status: answer.statusCode, retryAfter: typeof retryAfter === "string" ? retryAfter : undefined };
}

/** Codes of Node, of OpenSSL by way of Node, and of undici. */
const FAULT_OF_CODE: readonly (readonly [code: RegExp, fault: DeliveryFault])[] = [
  [/^(UND_ERR_(CONNECT|HEADERS|BODY)_TIMEOUT|ETIMEDOUT)$/, "timed_out"],
  [/CERT|^ERR_(TLS|SSL)|^UNABLE_TO_|^EPROTO$/, "tls_failed"],
  [/^UND_ERR_(HEADERS_OVERFLOW|RES_)/, "answer_invalid"],
];

function faultOf(error: unknown): DeliveryFault {
  if (error instanceof AddressRefused) return "address_refused";
  if (error instanceof NameUnknown) return "name_unknown";
  if (error instanceof errors.HTTPParserError) return "answer_invalid";
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return FAULT_OF_CODE.find(([pattern]) => pattern.test(code))?.[1] ?? "unreachable";
}
