// GET /blobs/{digest} at another host: signed, without redirects, within limits of time.

import { Agent, request } from "undici";
import { monotonicMs } from "../../core/clock.ts";
import { MayflyError } from "../../core/errors.ts";
import type { HostRecord } from "../../core/host.ts";
import { type ClusterSecret, signHostRequest } from "../../core/host-token.ts";
import { RateFloor } from "../../runtime/index.ts";

/** A host of one cluster is near; one that takes longer is away, and the registry is there. */
const CONNECT_MS = 2_000;

/** How long the bytes may pause. */
const IDLE_MS = 20_000;

/** Below the 60 s after which a host closes an idle connection. */
const KEEP_ALIVE_MS = 30_000;

/** Blobs under way from one host: three each of some twenty images. What is more waits in line, no longer than for an answer. */
const CONNECTIONS = 64;

export interface AnswerLimits {
  /** How long another host may take until its answer begins, with the wait for a connection to it. */
  readonly answerMs: number;
  /** What comes from a host more slowly than that, of `rateWindowMs` of waiting, is had from elsewhere. */
  readonly minBytesPerS: number;
  readonly rateWindowMs: number;
}

export type Holder = Pick<HostRecord, "id"> & { readonly imagesUrl: string };

export class PeerClient {
  readonly #secret: ClusterSecret;
  readonly #agent = new Agent({
    connect: { timeout: CONNECT_MS },
    keepAliveTimeout: KEEP_ALIVE_MS,
    connections: CONNECTIONS,
  });

  readonly #limits: AnswerLimits;

  constructor(secret: ClusterSecret, limits: AnswerLimits) {
    this.#secret = secret;
    this.#limits = limits;
  }

  /** The blob as it comes. Errors, also in the middle: `registry_unavailable`; the signal's reason. How long it is its reader knows. */
  async open(holder: Holder, digest: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const path = `/blobs/${digest}`;
    const late = new AbortController();
    const patience = setTimeout(() => late.abort(), this.#limits.answerMs);
    try {
      const authorization = signHostRequest(await this.#secret.read(), { method: "GET", path });
      const { statusCode, body } = await request(new URL(path, holder.imagesUrl), {
        ...{ headers: { authorization }, signal: AbortSignal.any([signal, late.signal]), dispatcher: this.#agent },
        bodyTimeout: IDLE_MS,
      });
      if (statusCode === 200) return told(holder, inTime(body, this.#limits), signal);
      await body.dump();
      if (statusCode === 401) await this.#secret.readAgain();
      throw new Error(`it answers with status ${statusCode}`);
    } catch (error) {
      throw failed(holder, error, signal);
    } finally {
      clearTimeout(patience);
    }
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }
}

/** The same bytes; TooSlowError if they come more slowly than they must. */
async function* inTime(body: AsyncIterable<Uint8Array>, limits: AnswerLimits): AsyncGenerator<Uint8Array, void> {
  const floor = new RateFloor(limits.minBytesPerS, limits.rateWindowMs);
  let sinceMs = monotonicMs();
  for await (const chunk of body) {
    floor.add(chunk.byteLength, monotonicMs() - sinceMs);
    yield chunk;
    sinceMs = monotonicMs(); // The time that its reader takes does not count.
  }
}

async function* told(
  holder: Holder,
  body: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void> {
  try {
    yield* body;
  } catch (error) {
    throw failed(holder, error, signal);
  }
}

function failed({ id }: Holder, cause: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  return new MayflyError("registry_unavailable", `host ${id} does not give the blob`, { cause, details: { peer: id } });
}
