// What gateways do with the outbox, as Lua that Redis runs atomically. It is a sorted set of what is to be told of, `run:<id>`, by the
// moment from which it is due; the script that finishes a run adds to it. Who claims an entry puts its moment off by a lease, and so
// has it alone. A gateway that dies leaves it due again once the lease is over: told late, perhaps twice, and never not at all.

import { keys } from "../../core/keys.ts";
import { define } from "../../core/transition-parts.ts";

/** How many entries that are due are looked at in one step. */
export const PAGE = 100;
/** How many attempts of an entry are remembered: a caller may ask for more than the schedule has. */
export const KEPT_ATTEMPTS = 50;

/** The hash of an entry's attempts: `attempt` counts them, `tries` those since the schedule began, `attempt:<n>` is what came of one. */
const PARTS = `
local function subject_of(entry) return '${keys.subject("")}' .. entry end
local function log_of(entry) return '${keys.deliveries("")}' .. entry end
local function keep(log, subject)
  local left = redis.call('PTTL', subject)
  if left > 0 then redis.call('PEXPIRE', log, left) end
end
`;

/**
 * Takes what is due, the longest first, as far as there is room: in all, for each host and for each tenant.
 * KEYS: outbox. ARGV: offset, max, lease ms, max a host, max a tenant, then "host <name>" or "tenant <name>" and how many are under way, …
 * → {now ms, "1" if there may be more that is due, {entry, host, tenant, attempt, tries}, …}
 */
export const claim = define(`${PARTS}
  local outbox = KEYS[1]
  local max, lease, per_host, per_tenant = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
  local busy = {}
  for i = 6, #ARGV, 2 do busy[ARGV[i]] = tonumber(ARGV[i + 1]) end
  local at = now()
  local due = redis.call('ZRANGEBYSCORE', outbox, '-inf', at, 'LIMIT', ARGV[1], ${PAGE})
  local answer = { at, #due == ${PAGE} and '1' or '0' }
  for _, entry in ipairs(due) do
    if #answer - 2 == max then break end
    local subject, log = subject_of(entry), log_of(entry)
    local of = redis.call('HMGET', subject, 'webhook', 'tenant')
    if not of[1] or not of[2] then
      redis.call('ZREM', outbox, entry) -- It is not kept any more: there is nothing left to tell.
    else
      local host, tenant = 'host ' .. of[1], 'tenant ' .. of[2]
      local of_host, of_tenant = busy[host] or 0, busy[tenant] or 0
      if of_host < per_host and of_tenant < per_tenant then
        busy[host], busy[tenant] = of_host + 1, of_tenant + 1
        redis.call('ZADD', outbox, at + lease, entry)
        local attempt, tries = redis.call('HINCRBY', log, 'attempt', 1), redis.call('HINCRBY', log, 'tries', 1)
        redis.call('HSET', log, 'underWay', '1', 'attempt:' .. attempt, cjson.encode({ at = at }))
        redis.call('HDEL', log, 'attempt:' .. attempt - ${KEPT_ATTEMPTS})
        keep(log, subject)
        answer[#answer + 1] = { entry, of[1], of[2], attempt, tries }
      end
    end
  end
  return answer
`);

/**
 * What came of an attempt. If the lease was over and another has begun one since, only that is written down.
 * KEYS: outbox, attempts. ARGV: entry, attempt, what came of it, state, ms until the next or "" → 1 | 0 if there is another
 */
export const settle = define(`
  local outbox, log = unpack(KEYS)
  local entry, attempt, outcome, state, delay = unpack(ARGV)
  if redis.call('EXISTS', log) == 0 then
    redis.call('ZREM', outbox, entry)
    return 1
  end
  redis.call('HSET', log, 'attempt:' .. attempt, outcome)
  if redis.call('HGET', log, 'attempt') ~= attempt then return 0 end
  redis.call('HSET', log, 'state', state)
  redis.call('HDEL', log, 'underWay')
  if delay == '' then redis.call('ZREM', outbox, entry)
  else redis.call('ZADD', outbox, now() + delay, entry) end
  return 1
`);

/**
 * Due at once, and its schedule from the beginning; an attempt that is under way goes on and is not doubled.
 * KEYS: outbox, attempts, what is told of. ARGV: entry → 1, or 0 if it is not kept any more
 */
export const retry = define(`${PARTS}
  local outbox, log, subject = unpack(KEYS)
  local entry, at = ARGV[1], now()
  if redis.call('EXISTS', subject) == 0 then return 0 end
  local due = tonumber(redis.call('ZSCORE', outbox, entry) or 0)
  if redis.call('HGET', log, 'underWay') and due > at then return 1 end
  redis.call('HSET', log, 'state', 'pending', 'tries', 0)
  keep(log, subject)
  redis.call('ZADD', outbox, at, entry)
  return 1
`);

/** KEYS: outbox, attempts → {moment from which it is due or "", the hash, flat} */
export const read = define(`
  return { redis.call('ZSCORE', KEYS[1], ARGV[1]) or '', redis.call('HGETALL', KEYS[2]) }
`);
