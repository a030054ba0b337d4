// API keys in Redis: a hash each, found by the id that stands in the key. What is kept of the key is its SHA-256.

import type { Redis } from "ioredis";
import { type ApiKey, KEY_BOUNDS, type KeyPage, type MadeKey, type NewKey, SCOPES } from "../../core/api-key.ts";
import { monotonicMs, wallTime } from "../../core/clock.ts";
import { MayflyError } from "../../core/errors.ts";
import { keys } from "../../core/keys.ts";
import { TENANT_BOUNDS } from "../../core/tenant.ts";
import type { Transition } from "../../core/transition-parts.ts";
import { runTransition } from "../../core/transitions.ts";
import { parseDuration } from "../../core/units.ts";
import type { Caller } from "../api-keys.ts";
import { makeKey } from "../key-material.ts";
import { keyScripts } from "./key-scripts.ts";
import { onRedis } from "./redis.ts";

/** How exactly it is known when a key was last used: no more is written than once in this time. */
export const USED_MS = 60_000;

/** What a request's key is held against. */
export interface KnownKey {
  readonly caller: Caller;
  /** Of the key, and of the one from before its rotation; each until a moment of the monotonic clock. */
  readonly good: readonly { readonly hash: string; readonly untilMs: number }[];
}

type Stored = Readonly<Record<string, string>>;

export class KeyStore {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** The only answer that has the key in it. Errors: `too_many_keys`. */
  async make({ tenant, name, scopes, expiresIn }: NewKey): Promise<MadeKey> {
    const { id, key, hash } = makeKey();
    const expiresInMs = expiresIn === undefined ? "" : parseDuration(expiresIn);
    const args = [
      ...[id, tenant, KEY_BOUNDS.keysOfTenant, TENANT_BOUNDS.tenants, expiresInMs ?? ""],
      ...["name", name, "scopes", scopes.join(" "), "hash", hash],
    ];
    const made = await this.#run(keyScripts.make, [keys.apiKey(id), keys.apiKeys, keys.tenants], args);
    if (made === "full")
      throw new MayflyError(
        "too_many_keys",
        `${tenant} has ${KEY_BOUNDS.keysOfTenant} keys, which is the limit: revoke one`,
      );
    if (made === "too many tenants") throw tooManyTenants();
    return { ...toApiKey(pairsOf(made)), key };
  }

  /** By tenant, then by id. */
  async list(options: { limit: number; tenant?: string | undefined; cursor?: string | undefined }): Promise<KeyPage> {
    const { limit, tenant, cursor } = options;
    const from = cursor === undefined ? (tenant === undefined ? "-" : `[${tenant} `) : `(${cursor.replace(".", " ")}`;
    const to = tenant === undefined ? "+" : `(${tenant}!`;
    return onRedis(this.#redis, async () => {
      const members = await this.#redis.zrangebylex(keys.apiKeys, from, to, "LIMIT", 0, limit);
      const ids = members.map((member) => member.split(" ")[1] ?? "");
      const hashes = await Promise.all(ids.map((id) => this.#redis.hgetall(keys.apiKey(id))));
      // One that was revoked since its id was read is not there.
      const found = hashes.filter((hash) => hash.id !== undefined).map(toApiKey);
      const next = members.length === limit ? members.at(-1)?.replace(" ", ".") : undefined;
      return { keys: found, ...(next === undefined ? {} : { next }) };
    });
  }

  /** Errors: `key_not_found`, `key_expired`. */
  async rotate(id: string, overlapMs: number): Promise<MadeKey> {
    const { key, hash } = makeKey(id);
    const rotated = await this.#run(keyScripts.rotate, [keys.apiKey(id)], [id, hash, overlapMs]);
    if (rotated === "absent") throw notFound(id);
    if (rotated === "over") throw new MayflyError("key_expired", `${id} is over: make another`);
    return { ...toApiKey(pairsOf(rotated)), key };
  }

  /** Errors: `key_not_found`. */
  async revoke(id: string): Promise<void> {
    const names = [keys.apiKey(id), keys.apiKeys, keys.tenants];
    if ((await this.#run(keyScripts.revoke, names, [id])) === 0) throw notFound(id);
  }

  /** What a key of this id is held against, if there is one. */
  async known(id: string): Promise<KnownKey | undefined> {
    const askedAtMs = monotonicMs();
    const [hash, time] = await onRedis(this.#redis, () =>
      Promise.all([this.#redis.hgetall(keys.apiKey(id)), this.#redis.time()]),
    );
    return toKnown(hash, { askedAtMs, redisMs: Number(time[0]) * 1_000 + Number(time[1]) / 1_000 });
  }

  /** Best effort: nothing depends on it. */
  async used(id: string): Promise<void> {
    await this.#run(keyScripts.used, [keys.apiKey(id)], [USED_MS]);
  }

  #run(script: Transition, names: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    return onRedis(this.#redis, () => runTransition(this.#redis, script, names, args));
  }
}

export function tooManyTenants(): MayflyError {
  return new MayflyError("too_many_keys", `there are ${TENANT_BOUNDS.tenants} tenants, which is the limit`);
}

function notFound(id: string): MayflyError {
  return new MayflyError("key_not_found", `there is no key ${id}`);
}

/** A moment of Redis' clock becomes one of ours: the two may be minutes apart. */
function toKnown(stored: Stored, at: { askedAtMs: number; redisMs: number }): KnownKey | undefined {
  const { id, tenant, hash, previousHash, expiresAt, previousUntil } = stored;
  if (!id || !tenant || !hash) return undefined;
  const until = (moment: string | undefined) =>
    moment === undefined ? Number.POSITIVE_INFINITY : at.askedAtMs + Number(moment) - at.redisMs;
  const untilMs = until(expiresAt);
  const previous = previousHash && { hash: previousHash, untilMs: Math.min(untilMs, until(previousUntil)) };
  return {
    caller: { tenant, scopes: new Set(scopesOf(stored)), key: id },
    good: [{ hash, untilMs }, ...(previous ? [previous] : [])],
  };
}

function toApiKey(stored: Stored): ApiKey {
  const { id = "", tenant = "", name = "", createdAt = "0" } = stored;
  const times = Object.fromEntries(
    (["expiresAt", "lastUsedAt", "rotatedAt", "previousUntil"] as const).flatMap((field) =>
      stored[field] === undefined ? [] : [[field, wallTime(Number(stored[field]))]],
    ),
  );
  return { id, tenant, name, scopes: scopesOf(stored), createdAt: wallTime(Number(createdAt)), ...times };
}

/** A word that is not known here gives no right. */
function scopesOf({ scopes = "" }: Stored): ApiKey["scopes"] {
  const words = scopes.split(" ");
  return SCOPES.filter((scope) => words.includes(scope));
}

/** A hash as a script answers it. */
function pairsOf(answer: unknown): Stored {
  if (!Array.isArray(answer)) throw new Error("a script answered no hash");
  return Object.fromEntries(answer.flatMap((name, i) => (i % 2 === 0 ? [[String(name), String(answer[i + 1])]] : [])));
}
