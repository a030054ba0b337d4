// How members of one cluster prove it to each other over HTTP: a signature with a secret that all of them read from Redis.
//
//   Authorization: Mayfly-Host <unix seconds>.<hex of HMAC-SHA-256(secret, "<unix seconds>\n<method>\n<path and query>")>

import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { monotonicMs } from "./clock.ts";
import { keys } from "./keys.ts";

const SCHEME = "Mayfly-Host";
/** How far apart two hosts' clocks may be, and how long a signature that was overheard could be used again for the same request. */
const MAX_AGE_S = 60;

export interface SignedRequest {
  readonly method: string;
  /** With its query, as it is sent: `/v1/images?x=1`. */
  readonly path: string;
}

/** The value of an `Authorization` header. */
export function signHostRequest(secret: string, request: SignedRequest, nowMs = Date.now()): string {
  const seconds = Math.floor(nowMs / 1000);
  return `${SCHEME} ${seconds}.${signatureOf(secret, request, seconds)}`;
}

/** What of a Redis client the secret needs. */
interface SecretRedis {
  set(key: string, value: string, condition: "NX"): Promise<unknown>;
  get(key: string): Promise<string | null>;
}

/** A Redis that was emptied has another secret; more often than this nobody looks, whoever asks. */
const LOOK_AGAIN_MS = 1_000;

/** The secret of the cluster. Whoever first wants one makes it. */
export class ClusterSecret {
  readonly #redis: SecretRedis;
  #secret: string | undefined;
  #looking: Promise<string> | undefined;
  #lookedAtMs = 0;

  constructor(redis: SecretRedis) {
    this.#redis = redis;
  }

  /** As it was read once; errors are Redis' own, and are not kept. */
  async read(): Promise<string> {
    return this.#secret ?? this.#look();
  }

  /**
   * To be called when a signature was not right: as it is in Redis now, or was a second ago. Anybody can send such a signature, so
   * what was known stays until another is, whatever becomes of Redis meanwhile.
   */
  async readAgain(): Promise<string> {
    const isNew = monotonicMs() - this.#lookedAtMs < LOOK_AGAIN_MS;
    return isNew && !this.#looking ? this.read() : this.#look();
  }

  /** However many want to know, it is one look at a time. */
  #look(): Promise<string> {
    this.#looking ??= this.#load()
      .catch((error) => {
        if (this.#secret === undefined) throw error;
        return this.#secret;
      })
      .finally(() => {
        this.#looking = undefined;
      });
    return this.#looking;
  }

  async #load(): Promise<string> {
    this.#lookedAtMs = monotonicMs();
    await this.#redis.set(keys.secret, randomBytes(32).toString("hex"), "NX");
    const secret = await this.#redis.get(keys.secret);
    if (!secret) throw new Error("Redis lost the secret while it was read");
    this.#secret = secret;
    return secret;
  }
}

/** False for anything but a signature of this request that is young enough. */
export function isSignedByHost(
  secret: string,
  request: SignedRequest,
  authorization: string | undefined,
  nowMs = Date.now(),
): boolean {
  const match = /^Mayfly-Host (\d{1,12})\.([0-9a-f]{64})$/.exec(authorization ?? "");
  if (!match?.[1] || !match[2]) return false;
  const seconds = Number(match[1]);
  if (Math.abs(nowMs / 1000 - seconds) > MAX_AGE_S) return false;
  return timingSafeEqual(Buffer.from(match[2]), Buffer.from(signatureOf(secret, request, seconds)));
}

function signatureOf(secret: string, { method, path }: SignedRequest, seconds: number): string {
  return createHmac("sha256", secret).update(`${seconds}\n${method}\n${path}`).digest("hex");
}
