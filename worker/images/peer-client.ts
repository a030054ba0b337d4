// GET /blobs/{digest} at another host: signed, without redirects, within limits of time.

import { Agent, request } from "undici";
import { MayflyError } from "../../core/errors.ts";
import type { HostRecord } from "../../core/host.ts";
import { type ClusterSecret, signHostRequest } from "../../core/host-token.ts";

/** A host of one cluster is near; one that takes longer is away, and the registry is there. */
const CONNECT_MS = 2_000;
const ANSWER_MS = 5_000;

/** How long the bytes may pause. */
const IDLE_MS = 20_000;

/** Below the 60 s after which a host closes an idle connection. */
const KEEP_ALIVE_MS = 30_000;

/** Blobs under way from one host. */
const CONNECTIONS = 8;

export type Holder = Pick<HostRecord, "id"> & { readonly imagesUrl: string };

export class PeerClient {
  readonly #secret: ClusterSecret;
  readonly #agent = new Agent({
    connect: { timeout: CONNECT_MS },
    keepAliveTimeout: KEEP_ALIVE_MS,
    connections: CONNECTIONS,
  });

  constructor(secret: ClusterSecret) {
    this.#secret = secret;
  }

  /** The blob as it comes. Errors, also in the middle: `registry_unavailable`; the signal's reason. How long it is its reader knows. */
  async open(holder: Holder, digest: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const path = `/blobs/${digest}`;
    try {
      const authorization = signHostRequest(await this.#secret.read(), { method: "GET", path });
      const { statusCode, body } = await request(new URL(path, holder.imagesUrl), {
        ...{ headers: { authorization }, signal, dispatcher: this.#agent },
        ...{ headersTimeout: ANSWER_MS, bodyTimeout: IDLE_MS },
      });
      if (statusCode === 200) return told(holder, body, signal);
      await body.dump();
      if (statusCode === 401) await this.#secret.readAgain();
      throw new Error(`it answers with status ${statusCode}`);
    } catch (error) {
      throw failed(holder, error, signal);
    }
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
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
