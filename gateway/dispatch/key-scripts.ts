// What changes API keys and tenants, as Lua that Redis runs atomically; time is Redis' own. What has changed is announced to all gateways.

import { createHash } from "node:crypto";
import { channels, keys } from "../../core/keys.ts";
import type { Transition } from "../../core/transition-parts.ts";

const PRELUDE = `
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
-- The members of a tenant in the index of keys: a space goes before every character of a name, ! follows it.
local function range(tenant) return '[' .. tenant .. ' ', '(' .. tenant .. '!' end
local function announce(what, name) redis.call('PUBLISH', '${channels.access}', what .. ' ' .. name) end
local function is_over(key, at)
  local expires = redis.call('HGET', key, 'expiresAt')
  return expires and tonumber(expires) <= at
end
-- Nobody remembers a tenant that has neither keys nor settings.
local function forget(tenants, index, tenant)
  local low, high = range(tenant)
  if redis.call('ZLEXCOUNT', index, low, high) == 0 and redis.call('EXISTS', '${keys.tenant("")}' .. tenant) == 0 then
    redis.call('ZREM', tenants, tenant)
  end
end
local function is_known(tenants, tenant, max)
  if not redis.call('ZSCORE', tenants, tenant) then
    if redis.call('ZCARD', tenants) >= tonumber(max) then return false end
    redis.call('ZADD', tenants, 0, tenant)
  end
  return true
end
`;

const define = (body: string): Transition => {
  const lua = PRELUDE + body;
  return { lua, sha1: createHash("sha1").update(lua).digest("hex") };
};

/**
 * Keys of the tenant that are over make room.
 * KEYS: key, keys, tenants. ARGV: id, tenant, max keys, max tenants, ms until it is over or "", then field, value …
 * → the key's hash | "full" | "too many tenants"
 */
const make = define(`
  local key, index, tenants = unpack(KEYS)
  local id, tenant, max, maxTenants, expiresIn = unpack(ARGV)
  local at, low, high = now(), range(tenant)
  if redis.call('ZLEXCOUNT', index, low, high) >= tonumber(max) then
    for _, member in ipairs(redis.call('ZRANGEBYLEX', index, low, high)) do
      local other = '${keys.apiKey("")}' .. string.sub(member, #tenant + 2)
      if is_over(other, at) then
        redis.call('DEL', other)
        redis.call('ZREM', index, member)
      end
    end
    if redis.call('ZLEXCOUNT', index, low, high) >= tonumber(max) then return 'full' end
  end
  if not is_known(tenants, tenant, maxTenants) then return 'too many tenants' end
  redis.call('HSET', key, 'id', id, 'tenant', tenant, 'createdAt', at, unpack(ARGV, 6))
  if expiresIn ~= '' then redis.call('HSET', key, 'expiresAt', at + expiresIn) end
  redis.call('ZADD', index, 0, tenant .. ' ' .. id)
  return redis.call('HGETALL', key)
`);

/** The key from before goes at once if there is no overlap, and at the latest with the next rotation. KEYS: key. ARGV: id, hash, overlap ms → the key's hash | "absent" | "over" */
const rotate = define(`
  local key = unpack(KEYS)
  local id, hash, overlap = unpack(ARGV)
  local at, before = now(), redis.call('HGET', key, 'hash')
  if not before then return 'absent' end
  if is_over(key, at) then return 'over' end
  redis.call('HDEL', key, 'previousHash', 'previousUntil')
  if tonumber(overlap) > 0 then redis.call('HSET', key, 'previousHash', before, 'previousUntil', at + overlap) end
  redis.call('HSET', key, 'hash', hash, 'rotatedAt', at)
  announce('key', id)
  return redis.call('HGETALL', key)
`);

/** KEYS: key, keys, tenants. ARGV: id → 1, or 0 if there is none */
const revoke = define(`
  local key, index, tenants = unpack(KEYS)
  local id = unpack(ARGV)
  local tenant = redis.call('HGET', key, 'tenant')
  if not tenant then return 0 end
  redis.call('DEL', key)
  redis.call('ZREM', index, tenant .. ' ' .. id)
  forget(tenants, index, tenant)
  announce('key', id)
  return 1
`);

/** Never makes a key that has been revoked meanwhile, nor writes more often than that. KEYS: key. ARGV: ms between two writes */
const used = define(`
  local key = unpack(KEYS)
  local held, at = redis.call('HMGET', key, 'id', 'lastUsedAt'), now()
  if held[1] and at - tonumber(held[2] or 0) >= tonumber(ARGV[1]) then redis.call('HSET', key, 'lastUsedAt', at) end
`);

/** KEYS: tenant, tenants, keys. ARGV: name, max tenants, then field, value or "" to take it away … → 1 | "too many tenants" */
const setTenant = define(`
  local hash, tenants, index = unpack(KEYS)
  local tenant, maxTenants = unpack(ARGV)
  if not is_known(tenants, tenant, maxTenants) then return 'too many tenants' end
  for i = 3, #ARGV, 2 do
    if ARGV[i + 1] == '' then redis.call('HDEL', hash, ARGV[i]) else redis.call('HSET', hash, ARGV[i], ARGV[i + 1]) end
  end
  forget(tenants, index, tenant)
  announce('tenant', tenant)
  return 1
`);

/**
 * Takes one of the tokens that a tenant's bucket holds: `burst` at most, and `rate` more each second. The settings are read here, so
 * that all gateways go by the same.
 * KEYS: tenant, bucket → {rate, burst, 1 if there was one, tokens left}, numbers as text, or {} if the tenant has no rate
 */
const take = define(`
  local settings, bucket = unpack(KEYS)
  local set = redis.call('HMGET', settings, 'rate', 'burst')
  local rate = tonumber(set[1] or '')
  if not rate then return {} end
  local burst = tonumber(set[2] or '') or math.max(1, math.ceil(rate))
  local t = redis.call('TIME')
  local at = t[1] * 1000000 + t[2]
  local held = redis.call('HMGET', bucket, 'tokens', 'at')
  local tokens = burst
  -- A clock that went back, as after a failover, gives nothing.
  if held[1] then tokens = math.min(burst, tonumber(held[1]) + math.max(0, at - tonumber(held[2])) * rate / 1000000) end
  local granted = tokens >= 1 and 1 or 0
  tokens = tokens - granted
  redis.call('HSET', bucket, 'tokens', string.format('%.17g', tokens), 'at', string.format('%.0f', at))
  -- Once it is full again there is nothing to know.
  redis.call('PEXPIRE', bucket, math.ceil((burst - tokens) / rate * 1000) + 1)
  return { tostring(rate), tostring(burst), granted, string.format('%.17g', tokens) }
`);

export const keyScripts = { make, rotate, revoke, used, setTenant, take } as const;
