// Secrets in Redis: sealed, a hash each, and one list of their names. Nothing here can open one.

import type { Redis } from "ioredis";
import { wallTime } from "../../core/clock.ts";
import { MayflyError } from "../../core/errors.ts";
import { keys } from "../../core/keys.ts";
import type { RunRequest } from "../../core/request.ts";
import { type Keyring, ownerOf, SECRET_BOUNDS, type Secret, type SecretPage, seal } from "../../core/secret.ts";
import { define } from "../../core/transition-parts.ts";
import { runTransition } from "../../core/transitions.ts";
import { onRedis } from "./redis.ts";

export interface SecretOf {
  readonly name: string;
  /** All tenants' without it. */
  readonly tenant?: string | undefined;
}

/** ARGV: member of the list, limit of the owner, limit of all, sealed text → when, or "full" */
const setSecret = define(`
  local secret, list = unpack(KEYS)
  local member, ofOwner, all, text = unpack(ARGV)
  local owner, at = string.match(member, '^%S+'), now()
  if redis.call('EXISTS', secret) == 0 then
    if redis.call('ZCARD', list) >= tonumber(all) then return 'full' end
    if redis.call('ZLEXCOUNT', list, '[' .. owner .. ' ', '(' .. owner .. '!') >= tonumber(ofOwner) then return 'full' end
  end
  redis.call('HSET', secret, 'sealed', text, 'changedAt', at)
  redis.call('ZADD', list, 0, member)
  return at
`);

export class SecretStore {
  readonly #redis: Redis;
  readonly #keyring: Keyring | undefined;

  constructor(redis: Redis, keyring: Keyring | undefined) {
    this.#redis = redis;
    this.#keyring = keyring;
  }

  /** Runs that start from now on are given it. Errors: `secrets_disabled`, `too_many_secrets`. */
  async set({ name, tenant }: SecretOf, value: string): Promise<Secret> {
    if (!this.#keyring)
      throw new MayflyError("secrets_disabled", "the gateway has no key for secrets: MAYFLY_SECRETS_KEY_FILE");
    const of = `${ownerOf(tenant)}:${name}`;
    const text = seal(this.#keyring, of, value);
    const { ofOwner, all } = SECRET_BOUNDS;
    const args = [`${ownerOf(tenant)} ${name}`, ofOwner, all, text];
    const at = await onRedis(this.#redis, () =>
      runTransition(this.#redis, setSecret, [keys.sealed(of), keys.secrets], args),
    );
    if (at === "full")
      throw new MayflyError("too_many_secrets", `there may be ${ofOwner} secrets of one owner, and ${all} in all`);
    return { name, ...(tenant === undefined ? {} : { tenant }), changedAt: wallTime(Number(at)) };
  }

  /** By owner, then by name; of all, or of one tenant's own. */
  async list({
    tenant,
    limit,
    cursor,
  }: {
    tenant?: string | undefined;
    limit: number;
    cursor?: string | undefined;
  }): Promise<SecretPage> {
    const first = tenant === undefined ? "-" : `[${tenant} `;
    const from = cursor === undefined ? first : `(${cursor.replace(":", " ")}`;
    const to = tenant === undefined ? "+" : `(${tenant}!`;
    const members = await onRedis(this.#redis, () =>
      this.#redis.zrangebylex(keys.secrets, from, to, "LIMIT", 0, limit),
    );
    const found = await onRedis(this.#redis, () =>
      Promise.all(members.map((member) => this.#redis.hget(keys.sealed(member.replace(" ", ":")), "changedAt"))),
    );
    const secrets = members.flatMap((member, i) => {
      const [owner = "", name = ""] = member.split(" ");
      const changedAt = found[i];
      if (changedAt == null) return []; // Removed since its name was read.
      return [{ name, ...(owner === "*" ? {} : { tenant: owner }), changedAt: wallTime(Number(changedAt)) }];
    });
    const next = members.length === limit ? members.at(-1)?.replace(" ", ":") : undefined;
    return { secrets, ...(next === undefined ? {} : { next }) };
  }

  /** Runs that have it keep it. Errors: `secret_not_found`. */
  async remove({ name, tenant }: SecretOf): Promise<void> {
    const owner = ownerOf(tenant);
    const results = await onRedis(this.#redis, () =>
      this.#redis
        .multi()
        .del(keys.sealed(`${owner}:${name}`))
        .zrem(keys.secrets, `${owner} ${name}`)
        .exec(),
    );
    if (results?.[0]?.[1] === 0) throw new MayflyError("secret_not_found", `there is no secret ${name}`);
  }
}

/** Throws `invalid_field` for the first variable whose secret is not there: neither the tenant's own nor all tenants'. */
export async function requireSecrets(redis: Redis, tenant: string, secretEnv: RunRequest["secretEnv"]): Promise<void> {
  const named = Object.entries(secretEnv ?? {});
  const found = await onRedis(redis, () =>
    Promise.all(named.map(([, name]) => redis.exists(keys.sealed(`${tenant}:${name}`), keys.sealed(`*:${name}`)))),
  );
  const missing = named.find((_, i) => found[i] === 0);
  if (!missing) return;
  const field = `secretEnv.${missing[0]}`;
  throw new MayflyError("invalid_field", `${field} names a secret that is not there: ${missing[1]}`, {
    details: { field },
  });
}
