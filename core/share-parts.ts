// What tenants have had of a pool's hosts, what they have now and what they may have, as Lua functions that stand before the scripts of
// transitions.ts. Each account is read once and written once by a script that changes it: it is on the path of every run.
//
// In the hash `shares` of a pool a tenant has `of:<tenant>`, three numbers: `v`, its share so far in ms; `n`, the size of what it has on hosts now;
// and `s`, the sum of each of those sizes times the moment it began. Its share at any moment is then v + (n × now − s) ÷ weight. `clock` is the
// share of whoever was served last, and the share of every tenant of whom nothing is written.

import { keys } from "./keys.ts";

/** What a start costs a tenant beforehand, in ms of a run of size 1: about what a short run takes. */
const START_COST_MS = 20;
/** How far a tenant's share may be ahead of the others' when it comes to wait: what was long ago counts for nothing. */
const MAX_LEAD_MS = 1_000;
/** Starts are counted in periods of 10 s, and six of them make the pace. */
const PACE_PERIOD_MS = 10_000;
const PACE_PERIODS = 6;
/** Moments are counted from here, so that sums of them stay exact in Lua's doubles. */
const EPOCH_MS = 1_750_000_000_000;

export const SHARE_PARTS = `
-- What the tenant may have, by name; what is absent has no limit, and the weight is 1.
local function limits_of(tenant)
  local may = redis.call('HMGET', '${keys.tenant("")}' .. tenant, 'weight', 'running', 'cpus', 'memoryBytes', 'queued')
  return { weight = tonumber(may[1] or 1), running = may[2] and tonumber(may[2]), cpus = may[3] and tonumber(may[3]),
    memoryBytes = may[4] and tonumber(may[4]), queued = may[5] and tonumber(may[5]) }
end
local function limits(p)
  p.may = p.may or limits_of(p.tenant)
  return p.may
end
-- Of runs that are on hosts.
local function use_of(tenant)
  local has = redis.call('HMGET', '${keys.use("")}' .. tenant, 'running', 'cpus', 'memoryBytes')
  return { running = tonumber(has[1] or 0), cpus = tonumber(has[2] or 0), memoryBytes = tonumber(has[3] or 0) }
end
-- One run more (1) or less (-1).
local function use(p, sign)
  local has, name = use_of(p.tenant), '${keys.use("")}' .. p.tenant
  if has.running + sign < 1 then
    redis.call('HDEL', name, 'running', 'cpus', 'memoryBytes')
  else
    redis.call('HSET', name, 'running', has.running + sign, 'cpus', string.format('%.6f', has.cpus + sign * p.cpus),
      'memoryBytes', string.format('%.0f', has.memoryBytes + sign * p.memoryBytes))
  end
end
-- The name of the tenant's limit that the run does not fit, given what the tenant has, or nil.
local function over_quota(p, alone)
  local may = limits(p)
  if not (may.running or may.cpus or may.memoryBytes) then return nil end
  local has = alone and { running = 0, cpus = 0, memoryBytes = 0 } or use_of(p.tenant)
  if may.running and has.running + 1 > may.running then return 'running' end
  if may.cpus and has.cpus + p.cpus > may.cpus + 1e-6 then return 'cpus' end
  if may.memoryBytes and has.memoryBytes + p.memoryBytes > may.memoryBytes then return 'memory' end
  return nil
end
local function account_of(pool, tenant)
  local held = redis.call('HMGET', '${keys.shares("")}' .. pool, 'of:' .. tenant, 'clock')
  local clock = tonumber(held[2] or 0)
  if not held[1] then return { v = clock, n = 0, s = 0, clock = clock } end
  local v, n, s = string.match(held[1], '^(%S+) (%S+) (%S+)$')
  return { v = tonumber(v), n = tonumber(n), s = tonumber(s), clock = clock }
end
local function save(p, account)
  local shares, name = '${keys.shares("")}' .. p.pool, 'of:' .. p.tenant
  -- Who has nothing here now, and is not ahead of the clock, need not be remembered; and sums that were rounded begin anew.
  if account.n < 1e-6 and account.v <= account.clock then return redis.call('HDEL', shares, name) end
  if account.n < 1e-6 then account.n, account.s = 0, 0 end
  redis.call('HSET', shares, name, string.format('%.3f %.6f %.3f', account.v, account.n, account.s), 'clock', string.format('%.3f', account.clock))
end
local function share_at(account, weight, at)
  return account.v + (account.n * (at - ${EPOCH_MS}) - account.s) / weight
end
-- Who comes to wait, or is served without, is owed nothing for what it did not ask for, and pays for what it had before only within a bound.
local function settle(account, weight, at)
  local share = share_at(account, weight, at)
  account.v = account.v + math.min(math.max(share, account.clock), account.clock + ${MAX_LEAD_MS}) - share
end
local function charge(p, at, comes)
  local account, weight = account_of(p.pool, p.tenant), limits(p).weight
  if comes then settle(account, weight, at) end
  account.clock = math.max(account.clock, share_at(account, weight, at))
  account.v = account.v + ${START_COST_MS} * p.size / weight
  account.n, account.s = account.n + p.size, account.s + p.size * (at - ${EPOCH_MS})
  save(p, account)
  use(p, 1)
  local pace, period = '${keys.pace("")}' .. p.pool, math.floor(at / ${PACE_PERIOD_MS})
  if redis.call('HINCRBY', pace, period, 1) > 1 then return end
  for _, old in ipairs(redis.call('HKEYS', pace)) do
    if tonumber(old) <= period - ${PACE_PERIODS} then redis.call('HDEL', pace, old) end
  end
end
local function discharge(p, at)
  local account = account_of(p.pool, p.tenant)
  account.v = account.v + p.size * (at - p.claimedAt) / limits(p).weight
  account.n, account.s = account.n - p.size, account.s - p.size * (p.claimedAt - ${EPOCH_MS})
  save(p, account)
  use(p, -1)
end
-- How many runs of the pool were started a second, of late.
local function pace_of(pool, at)
  local total, period = 0, math.floor(at / ${PACE_PERIOD_MS})
  local counts = redis.call('HGETALL', '${keys.pace("")}' .. pool)
  for i = 1, #counts, 2 do
    if tonumber(counts[i]) > period - ${PACE_PERIODS} then total = total + counts[i + 1] end
  end
  return total * 1000 / ((${PACE_PERIODS} - 1) * ${PACE_PERIOD_MS} + at % ${PACE_PERIOD_MS})
end
`;
