// One HTTP exchange with the image service of a host: signed, without redirects, within limits of time and size.

import type { Readable } from "node:stream";
import { Agent, type Dispatcher, request } from "undici";
import { z } from "zod";
import { type ErrorReason, isMayflyError, MayflyError, REASONS } from "../../core/errors.ts";
import type { HostRecord } from "../../core/host.ts";
import { type ClusterSecret, signHostRequest } from "../../core/host-token.ts";

/** A host of one cluster is near: one that takes longer to connect is away. */
const CONNECT_MS = 2_000;

/** How long a body may be silent. A host says something every 15 s during a pull. */
const IDLE_MS = 60_000;

/** Idle connections are closed before the host does it (60 s), so that none is closed just as a request is sent. */
const KEEP_ALIVE_MS = 30_000;

/** The list of a host with ten thousand images. */
const MAX_ANSWER_BYTES = 32 * 1024 * 1024;

export interface HostCall {
  readonly method: "GET" | "POST" | "DELETE";
  /** With its query. */
  readonly path: string;
  readonly json?: unknown;
  /** In place of `json`: sent as it comes. */
  readonly body?: AsyncIterable<Uint8Array> | undefined;
  /** Until the answer begins. */
  readonly answerMs: number;
  readonly signal: AbortSignal;
}

const SIGNATURE_REFUSED =
  "does not take this gateway's signature: is its Redis another one, or its clock more than a minute off?";

const Refusal = z.object({ reason: z.string(), message: z.string() });

export class HostClient {
  readonly #secret: ClusterSecret;
  readonly #agent = new Agent({ connect: { timeout: CONNECT_MS }, keepAliveTimeout: KEEP_ALIVE_MS });

  constructor(secret: ClusterSecret) {
    this.#secret = secret;
  }

  /** The body of a good answer; to be read to its end or destroyed. Errors: `host_unavailable`, the host's own, the signal's reason. */
  async open(host: HostRecord, call: HostCall): Promise<Readable> {
    let answer = await this.#exchange(host, call, await this.#secret.read());
    if (answer.statusCode === 401 && !call.body) {
      await answer.body.dump();
      answer = await this.#exchange(host, call, await this.#secret.readAgain());
    }
    // Whoever reads it is told of its errors; one that is destroyed unread has some too, and nobody to tell.
    if (answer.statusCode === 200) return answer.body.on("error", () => {});
    throw refusalOf(host, answer.statusCode, await readJson(host, answer.body).catch(() => undefined));
  }

  /** The whole answer, of this shape. Errors: as `open`'s. */
  async ask<T>(host: HostRecord, schema: z.ZodType<T>, call: HostCall): Promise<T> {
    const parsed = schema.safeParse(await readJson(host, await this.open(host, call)));
    if (parsed.success) return parsed.data;
    throw unavailable(host, "answers what is not understood here; is it of another version?");
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #exchange(host: HostRecord, call: HostCall, secret: string): Promise<Dispatcher.ResponseData> {
    if (host.imagesUrl === undefined) throw unavailable(host, "does not tell where it answers about its images");
    const { method, path, json, body, answerMs, signal } = call;
    const headers = {
      authorization: signHostRequest(secret, { method, path }),
      ...(json === undefined ? {} : { "content-type": "application/json" }),
    };
    try {
      return await request(new URL(path, host.imagesUrl), {
        ...{ method, headers, signal, headersTimeout: answerMs, bodyTimeout: IDLE_MS, dispatcher: this.#agent },
        ...(json === undefined ? {} : { body: JSON.stringify(json) }),
        ...(body ? { body: body as Dispatcher.RequestOptions["body"] & {} } : {}),
      });
    } catch (error) {
      signal.throwIfAborted();
      // What the body failed with (it is over its limit, say) is its reader's to tell.
      throw isMayflyError(error) ? error : unavailable(host, "does not answer", error);
    }
  }
}

async function readJson(host: HostRecord, body: Readable): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      bytes += chunk.length;
      if (bytes > MAX_ANSWER_BYTES) throw unavailable(host, `answers more than ${MAX_ANSWER_BYTES} bytes`);
      chunks.push(chunk);
    }
    return JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch (error) {
    throw isMayflyError(error) ? error : unavailable(host, "has not answered to the end", error);
  }
}

function refusalOf(host: HostRecord, status: number, body: unknown): MayflyError {
  const { success, data } = Refusal.safeParse(body);
  if (!success) return unavailable(host, `answers with status ${status}`);
  // The caller's key is not in question: it is the host that does not trust this gateway.
  if (status === 401) return unavailable(host, SIGNATURE_REFUSED);
  return hostError(host.id, data.reason, data.message);
}

/** What a host has told as its failure. A reason of a newer version is told as the host's being unable. */
export function hostError(host: string, reason: string, message: string): MayflyError {
  if (!Object.hasOwn(REASONS, reason)) return new MayflyError("host_unavailable", `${host}: ${message} (${reason})`);
  return new MayflyError(reason as ErrorReason, message);
}

export function unavailable({ id }: Pick<HostRecord, "id">, what: string, cause?: unknown): MayflyError {
  return new MayflyError("host_unavailable", `host ${id} ${what}`, { cause });
}
