// How runs that wait are chosen, as Lua functions that stand before the scripts of transitions.ts.
//
//   submit ─▶ (delayed) ─▶ (before its gate) ─▶ in its tenant's line ─▶ given to a host that offers room
//
// One idea: a host that has room is what moves the queue. Whenever a host tells its room, and whenever a run comes, the room
// is given to the next run in the same step. Which is next:
//
// - Between tenants: whoever has had least. A tenant's *share* is the time that its runs have held hosts, times their size, divided by its
//   weight; it grows while they run. A tenant that comes to wait starts where those who were served last are, or little behind: nobody
//   saves up, and nobody pays for long. Each start costs START_COST_MS beforehand, so that tenants take turns when all that is free is given at once.
// - Within a tenant: by priority, then first come, first served.
//
// A run that does not fit what is free on a host, but would fit the host, has it kept free until it does, on one host at a time. A run
// that could never fit that host is passed over there. So small runs do not starve large ones, nor large ones keep hosts idle
// that cannot have them.
//
// In the hash `shares` of a pool a tenant has `v`, its share so far in ms; `n`, the size of what it has on hosts now; and `s`, the sum of each
// of those sizes times the moment it began. Its share at any moment is then v + (n × now − s) ÷ weight. `clock` is the share of whoever was
// served last.

import { channels, keys } from "./keys.ts";
import { LEASE_MS, MAX_HANDED_BYTES, MAX_ON_THE_WAY } from "./offer.ts";

/** What a start costs a tenant beforehand, in ms of a run of size 1: about what a short run takes. */
const START_COST_MS = 20;
/** How far a tenant's share may be ahead of the others' when it comes to wait: what was long ago counts for nothing. */
const MAX_LEAD_MS = 1_000;
/** How far into one tenant's line a host looks for a run that it could ever hold. */
const LOOK_AHEAD = 8;
/** How long a host keeps room for a run, unless it says so again; it does with each beat. */
const RESERVED_MS = 10_000;
/** Starts are counted in periods of 10 s, and six of them make the pace. */
const PACE_PERIOD_MS = 10_000;
const PACE_PERIODS = 6;
/** Moments are counted from here, so that sums of them stay exact in Lua's doubles. */
const EPOCH_MS = 1_750_000_000_000;

export const QUEUE_PARTS = `
local function placing(run)
  local f = redis.call('HMGET', run, 'tenant', 'pool', 'cpus', 'memoryBytes', 'pids', 'size', 'priority', 'key', 'keyMax', 'dueAt', 'claimedAt', 'batch')
  local p = { tenant = f[1], pool = f[2], cpus = tonumber(f[3] or 0), memoryBytes = tonumber(f[4] or 0), pids = tonumber(f[5] or 0) }
  p.size, p.priority, p.key, p.keyMax = tonumber(f[6] or 1), tonumber(f[7] or 0), f[8] or nil, tonumber(f[9] or 0)
  p.dueAt, p.claimedAt, p.line = tonumber(f[10] or 0), tonumber(f[11] or 0), f[2] .. ':' .. f[1]
  p.batch = f[12] or nil
  return p
end
local function weight_of(tenant)
  return tonumber(redis.call('HGET', '${keys.tenant("")}' .. tenant, 'weight') or 1)
end
local function shares_of(pool, tenant)
  local held = redis.call('HMGET', '${keys.shares("")}' .. pool, 'v' .. tenant, 'n' .. tenant, 's' .. tenant)
  return tonumber(held[1] or 0), tonumber(held[2] or 0), tonumber(held[3] or 0)
end
local function share_of(pool, tenant, at)
  local v, n, s = shares_of(pool, tenant)
  return v + (n * (at - ${EPOCH_MS}) - s) / weight_of(tenant)
end
local function clock_of(pool)
  return tonumber(redis.call('HGET', '${keys.shares("")}' .. pool, 'clock') or 0)
end
-- Who comes to wait is owed nothing for what it did not ask for, and pays for what it had before only within a bound.
local function settle(p, at)
  if redis.call('ZCARD', '${keys.line("")}' .. p.line) > 0 then return end
  local share, clock = share_of(p.pool, p.tenant, at), clock_of(p.pool)
  local bounded = math.min(math.max(share, clock), clock + ${MAX_LEAD_MS})
  if bounded ~= share then redis.call('HINCRBYFLOAT', '${keys.shares("")}' .. p.pool, 'v' .. p.tenant, string.format('%.3f', bounded - share)) end
end
local function charge(p, at)
  local shares, share = '${keys.shares("")}' .. p.pool, share_of(p.pool, p.tenant, at)
  if share > clock_of(p.pool) then redis.call('HSET', shares, 'clock', string.format('%.3f', share)) end
  redis.call('HINCRBYFLOAT', shares, 'n' .. p.tenant, p.size)
  redis.call('HINCRBYFLOAT', shares, 's' .. p.tenant, string.format('%.3f', p.size * (at - ${EPOCH_MS})))
  redis.call('HINCRBYFLOAT', shares, 'v' .. p.tenant, string.format('%.3f', ${START_COST_MS} * p.size / weight_of(p.tenant)))
  local use = '${keys.use("")}' .. p.tenant
  redis.call('HINCRBY', use, 'running', 1)
  redis.call('HINCRBYFLOAT', use, 'cpus', p.cpus)
  redis.call('HINCRBY', use, 'memoryBytes', p.memoryBytes)
  local pace, period = '${keys.pace("")}' .. p.pool, math.floor(at / ${PACE_PERIOD_MS})
  if redis.call('HINCRBY', pace, period, 1) == 1 then
    for _, old in ipairs(redis.call('HKEYS', pace)) do
      if tonumber(old) <= period - ${PACE_PERIODS} then redis.call('HDEL', pace, old) end
    end
  end
end
local function discharge(p, at)
  local shares, held = '${keys.shares("")}' .. p.pool, at - p.claimedAt
  redis.call('HINCRBYFLOAT', shares, 'v' .. p.tenant, string.format('%.3f', p.size * held / weight_of(p.tenant)))
  redis.call('HINCRBYFLOAT', shares, 's' .. p.tenant, string.format('%.3f', -p.size * (p.claimedAt - ${EPOCH_MS})))
  local n = tonumber(redis.call('HINCRBYFLOAT', shares, 'n' .. p.tenant, -p.size))
  if n < 1e-6 then -- Nothing is there now: sums that were rounded begin anew, and who is not ahead of the clock need not be remembered.
    redis.call('HDEL', shares, 'n' .. p.tenant, 's' .. p.tenant)
    if shares_of(p.pool, p.tenant) <= clock_of(p.pool) then redis.call('HDEL', shares, 'v' .. p.tenant) end
  end
  local use = '${keys.use("")}' .. p.tenant
  redis.call('HINCRBYFLOAT', use, 'cpus', -p.cpus)
  redis.call('HINCRBY', use, 'memoryBytes', -p.memoryBytes)
  if redis.call('HINCRBY', use, 'running', -1) <= 0 then redis.call('HDEL', use, 'running', 'cpus', 'memoryBytes') end
end
-- The name of the tenant's limit that the run does not fit, given what the tenant has, or nil.
local function over_quota(p, alone)
  local may = redis.call('HMGET', '${keys.tenant("")}' .. p.tenant, 'running', 'cpus', 'memoryBytes')
  if not (may[1] or may[2] or may[3]) then return nil end
  local has = alone and {} or redis.call('HMGET', '${keys.use("")}' .. p.tenant, 'running', 'cpus', 'memoryBytes')
  if may[1] and tonumber(has[1] or 0) + 1 > tonumber(may[1]) then return 'running' end
  if may[2] and tonumber(has[2] or 0) + p.cpus > tonumber(may[2]) + 1e-6 then return 'cpus' end
  if may[3] and tonumber(has[3] or 0) + p.memoryBytes > tonumber(may[3]) then return 'memory' end
  return nil
end
-- Through the gate of its key, if that lets one more through; without a key there is none.
local function pass_gate(p)
  if not p.key then return true end
  local gates = '${keys.gates("")}' .. p.tenant
  if tonumber(redis.call('HGET', gates, p.key) or 0) >= p.keyMax then return false end
  redis.call('HINCRBY', gates, p.key, 1)
  return true
end
local function line_up(id, p, at)
  if not pass_gate(p) then
    redis.call('ZADD', '${keys.gate("")}' .. p.tenant .. ':' .. p.key, p.priority, id)
    return
  end
  settle(p, at)
  redis.call('ZADD', '${keys.line("")}' .. p.line, p.priority, id)
  redis.call('SADD', '${keys.lines("")}' .. p.pool, p.tenant)
end
-- One that was through the gate is over, or waits no more: the next one may come.
local function leave_gate(p, at)
  if not p.key then return end
  local gates, gate = '${keys.gates("")}' .. p.tenant, '${keys.gate("")}' .. p.tenant .. ':' .. p.key
  if redis.call('HINCRBY', gates, p.key, -1) <= 0 then redis.call('HDEL', gates, p.key) end
  for _, id in ipairs(redis.call('ZRANGE', gate, 0, 0)) do
    redis.call('ZREM', gate, id)
    line_up(id, placing('${keys.run("")}' .. id), at)
  end
end
local function enqueue(id, p, at)
  redis.call('ZADD', '${keys.queued("")}' .. p.pool, at, id)
  redis.call('HINCRBY', '${keys.use("")}' .. p.tenant, 'queued', 1)
  if p.dueAt > at then
    redis.call('ZADD', '${keys.delayed}', p.dueAt, id)
  else
    line_up(id, p, at)
  end
end
-- Out of its line, on its way to a host.
local function step_out(id, p)
  redis.call('ZREM', '${keys.queued("")}' .. p.pool, id)
  if redis.call('HINCRBY', '${keys.use("")}' .. p.tenant, 'queued', -1) <= 0 then redis.call('HDEL', '${keys.use("")}' .. p.tenant, 'queued') end
  redis.call('ZREM', '${keys.line("")}' .. p.line, id)
  if redis.call('ZCARD', '${keys.line("")}' .. p.line) == 0 then redis.call('SREM', '${keys.lines("")}' .. p.pool, p.tenant) end
end
-- It waits no more, and goes nowhere.
local function give_up_place(id, p, at)
  local in_line = redis.call('ZSCORE', '${keys.line("")}' .. p.line, id)
  step_out(id, p)
  redis.call('ZREM', '${keys.delayed}', id)
  if p.key then redis.call('ZREM', '${keys.gate("")}' .. p.tenant .. ':' .. p.key, id) end
  if in_line then leave_gate(p, at) end
end
-- Of a run that was on a host.
local function leave(p, at)
  discharge(p, at)
  leave_gate(p, at)
  if p.batch then item_left(p.batch) end
end
local function keep_room(id, holder)
  local key = '${keys.reserved("")}' .. id
  local by = redis.call('GET', key)
  if by and by ~= holder then return false end
  redis.call('SET', key, holder, 'PX', ${RESERVED_MS})
  return true
end
-- The next run for this room, or nil.
local function pick(pool, holder, offer, at)
  if offer.slots < 1 then return nil end
  local order = {}
  for _, tenant in ipairs(redis.call('SMEMBERS', '${keys.lines("")}' .. pool)) do
    order[#order + 1] = { tenant, share_of(pool, tenant, at) }
  end
  table.sort(order, function(a, b) return a[2] < b[2] or (a[2] == b[2] and a[1] < b[1]) end)
  for _, each in ipairs(order) do
    for _, id in ipairs(redis.call('ZRANGE', '${keys.line("")}' .. pool .. ':' .. each[1], 0, ${LOOK_AHEAD - 1})) do
      local p = placing('${keys.run("")}' .. id)
      if over_quota(p) then break end
      if tonumber(redis.call('ZSCORE', '${keys.deadlines}', id) or 0) > at then -- Else its queue clock is over, and it only has not been told.
        if fits(offer, 1, p) then return id, p end
        if fits(offer.capacity, 1, p) and keep_room(id, holder) then return nil end
      end
    end
  end
  return nil
end
local function start(id, p, holder, offer, at)
  local run = '${keys.run("")}' .. id
  redis.call('HSET', run, 'state', 'starting', 'host', offer.host, 'holder', holder, 'claimedAt', at)
  redis.call('ZADD', '${keys.deadlines}', at + ${LEASE_MS}, id)
  file(id, p.tenant, 'queued', 'starting')
  charge(p, at)
  if p.batch then item_started(p.batch, at) end
  give(offer, p)
  offer.given = offer.given + 1
  local fields = redis.call('HSTRLEN', run, 'request') <= ${MAX_HANDED_BYTES} and redis.call('HGETALL', run)
    or { 'id', id, 'attempt', redis.call('HGET', run, 'attempt') }
  redis.call('PUBLISH', '${channels.handed("")}' .. holder, cjson.encode({ offer.series, offer.given, fields }))
  redis.call('PUBLISH', '${channels.changed("")}' .. id, '')
end
-- Gives what is offered to those who wait, one by one. True if anybody got something.
local function serve(pool, holder, offer, at)
  local served = false
  while #offer.onTheWay < ${MAX_ON_THE_WAY} do
    local id, p = pick(pool, holder, offer, at)
    if not id then return served end
    step_out(id, p)
    start(id, p, holder, offer, at)
    served = true
  end
  return served
end
-- The same for some of the hosts that offer room.
local function serve_some(pool, offers, at)
  if redis.call('SCARD', '${keys.lines("")}' .. pool) == 0 then return end
  for holder, offer in some_offers(offers, at) do
    if serve(pool, holder, offer, at) then post(offers, holder, offer) end
  end
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
