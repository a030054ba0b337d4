// How runs that wait are chosen, as Lua functions that stand before the scripts of transitions.ts.
//
//   submit ─▶ (delayed) ─▶ (before its gate) ─▶ in its tenant's line ─▶ given to a host that offers room
//
// One idea: a host that has room is what moves the queue. Whenever a host tells its room, and whenever a run comes, the room
// is given to the next run in the same step. Which is next:
//
// - Between tenants: whoever has had least. A tenant's *share* is the time that its runs have held hosts, times their size, divided by its
//   weight (share-parts.ts); it grows while they run. A tenant that comes to wait starts where those who were served last are, or little behind: nobody
//   saves up, and nobody pays for long. Each start costs a little beforehand, so that tenants take turns when all that is free is given at once.
// - Within a tenant: by priority, then first come, first served.
//
// A run that does not fit what is free on a host, but would fit the host, has it kept free until it does, on one host at a time. A run
// that could never fit that host is passed over there. So small runs do not starve large ones, nor large ones keep hosts idle
// that cannot have them.

import { channels, keys } from "./keys.ts";
import { LEASE_MS, MAX_HANDED_BYTES, MAX_ON_THE_WAY } from "./offer.ts";

/** How far into one tenant's line a host looks for a run that it could ever hold. */
const LOOK_AHEAD = 8;
/** How long a host keeps room for a run, unless it says so again; it does with each beat. */
const RESERVED_MS = 10_000;
export const QUEUE_PARTS = `
local function placing(run)
  local f = redis.call('HMGET', run, 'tenant', 'pool', 'cpus', 'memoryBytes', 'pids', 'size', 'priority', 'key', 'keyMax', 'dueAt', 'claimedAt',
    'state', 'webhook', 'retryable', 'batch')
  local p = { tenant = f[1], pool = f[2], cpus = tonumber(f[3] or 0), memoryBytes = tonumber(f[4] or 0), pids = tonumber(f[5] or 0) }
  p.size, p.priority, p.key, p.keyMax = tonumber(f[6] or 1), tonumber(f[7] or 0), f[8] or nil, tonumber(f[9] or 0)
  p.dueAt, p.claimedAt, p.line = tonumber(f[10] or 0), tonumber(f[11] or 0), (f[2] or '') .. ':' .. (f[1] or '')
  p.state, p.webhook, p.retryable, p.batch = f[12], f[13], f[14], f[15]
  return p
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
    stand_aside(p, 1)
    return
  end
  if redis.call('ZADD', '${keys.line("")}' .. p.line, p.priority, id) == 1 and redis.call('ZCARD', '${keys.line("")}' .. p.line) == 1 then
    local account = account_of(p.pool, p.tenant)
    settle(account, limits(p).weight, at)
    save(p, account)
  end
  redis.call('SADD', '${keys.lines("")}' .. p.pool, p.tenant)
end
-- One that stood aside, and does so nowhere any more. Its pool, if it is a run.
local function come_in(id, at)
  local p = placing('${keys.run("")}' .. id)
  if not p.tenant then return nil end
  stand_aside(p, -1)
  line_up(id, p, at)
  return p.pool
end
-- One that was through the gate is over, or waits no more: the next one may come, into the line of the pool that is left in p.
local function leave_gate(p, at)
  if not p.key then return end
  local gates, gate = '${keys.gates("")}' .. p.tenant, '${keys.gate("")}' .. p.tenant .. ':' .. p.key
  if redis.call('HINCRBY', gates, p.key, -1) <= 0 then redis.call('HDEL', gates, p.key) end
  for _, id in ipairs(redis.call('ZRANGE', gate, 0, 0)) do
    redis.call('ZREM', gate, id)
    p.let_in = come_in(id, at)
  end
end
local function enqueue(id, p, at)
  redis.call('ZADD', '${keys.queued("")}' .. p.pool, at, id)
  redis.call('HINCRBY', '${keys.use("")}' .. p.tenant, 'queued', 1)
  if p.dueAt > at then
    redis.call('ZADD', '${keys.delayed}', p.dueAt, id)
    stand_aside(p, 1)
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
  local aside = redis.call('ZREM', '${keys.delayed}', id)
  if p.key then aside = aside + redis.call('ZREM', '${keys.gate("")}' .. p.tenant .. ':' .. p.key, id) end
  if aside > 0 then stand_aside(p, -1) end
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
    order[#order + 1] = { tenant, share_at(account_of(pool, tenant), limits_of(tenant).weight, at) }
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
-- What is to be done when a run is given to a host, apart from its record. Its fields, flat, if they are known.
local function hand_over(id, p, holder, offer, at, fields)
  local run = '${keys.run("")}' .. id
  redis.call('ZADD', '${keys.deadlines}', at + ${LEASE_MS}, id)
  charge(p, at, fields ~= nil)
  give(offer, p)
  offer.given = offer.given + 1
  if redis.call('HSTRLEN', run, 'request') > ${MAX_HANDED_BYTES} then
    fields = { 'id', id, 'attempt', redis.call('HGET', run, 'attempt') }
  end
  redis.call('PUBLISH', '${channels.handed("")}' .. holder, cjson.encode({ offer.series, offer.given, fields or redis.call('HGETALL', run) }))
end
local function start(id, p, holder, offer, at)
  redis.call('HSET', '${keys.run("")}' .. id, 'state', 'starting', 'host', offer.host, 'holder', holder, 'claimedAt', at)
  file(id, p.tenant, 'queued', 'starting')
  hand_over(id, p, holder, offer, at)
  if p.batch then item_started(p.batch, at) end
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
-- Who has come through a gate is given room that there is, or hosts are told that it waits: none of them needs have room to tell of.
local function serve_let_in(p, at)
  if not p.let_in then return end
  serve_some(p.let_in, '${keys.offers("")}' .. p.let_in, at)
  if redis.call('SCARD', '${keys.lines("")}' .. p.let_in) > 0 then redis.call('PUBLISH', '${channels.waits("")}' .. p.let_in, '') end
end
`;
