// What the scripts of transitions.ts share: Lua functions that stand before each of them.

import { createHash } from "node:crypto";
import { channels, keys } from "./keys.ts";
import { MAX_ON_THE_WAY, OFFER_MS, OFFERS_LOOKED_AT } from "./offer.ts";
import { TOLD_BYTES } from "./told.ts";

/** A script. Its keys are built by `transitionKeys`; callers pass ARGV in the order that the comment above it gives. */
export interface Transition {
  readonly lua: string;
  /** By which Redis knows a script that it has seen. */
  readonly sha1: string;
}

const PRELUDE = `
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
-- The attempt is this holder's, and under way: its fields, or nil.
local function held(run, attempt, holder)
  local now_held = redis.call('HMGET', run, 'state', 'attempt', 'holder', 'cancelRequested')
  if now_held[1] ~= 'starting' and now_held[1] ~= 'running' then return nil end
  if now_held[2] ~= attempt or now_held[3] ~= holder then return nil end
  return { state = now_held[1], cancel = now_held[4] == '1' }
end
-- Where the run waits, if it does.
local function queue_of(run)
  return '${keys.queued("")}' .. (redis.call('HGET', run, 'pool') or 'default')
end
-- What a gateway is told of a run that has finished: all of it, if it is small (told.ts).
local function told(run, id)
  local out, err = redis.call('STRLEN', run .. ':stdout'), redis.call('STRLEN', run .. ':stderr')
  if out + err + redis.call('HSTRLEN', run, 'request') > ${TOLD_BYTES} then return cjson.encode({ id }) end
  local head = cjson.encode({ id, out, err, redis.call('HGETALL', run) })
  return head .. string.char(10) .. (redis.call('GET', run .. ':stdout') or '') .. (redis.call('GET', run .. ':stderr') or '')
end
local function finish(run, waiters, deadlines, id, at, outcome, retention)
  redis.call('HSET', run, 'state', 'finished', 'finishedAt', at, 'outcome', outcome, 'stdinClosed', '1')
  redis.call('ZREM', deadlines, id)
  if redis.call('HEXISTS', run, 'webhook') == 1 then redis.call('ZADD', '${keys.webhooks}', at, 'run:' .. id) end
  for _, suffix in ipairs({'', ':stdout', ':stderr'}) do
    redis.call('PEXPIRE', run .. suffix, retention)
  end
  local gateways = redis.call('SMEMBERS', waiters)
  local message = gateways[1] and told(run, id)
  for _, gateway in ipairs(gateways) do
    redis.call('PUBLISH', '${channels.gateway("")}' .. gateway, message)
  end
  redis.call('DEL', run .. ':stdin', waiters)
  redis.call('PUBLISH', '${channels.changed("")}' .. id, '')
end
local function give(offer, cpus, memoryBytes, pids)
  offer.slots, offer.cpus = offer.slots - 1, offer.cpus - cpus
  offer.memoryBytes, offer.pids = offer.memoryBytes - memoryBytes, offer.pids - pids
  table.insert(offer.onTheWay, { cpus, memoryBytes, pids })
end
local function fits(offer, slots, cpus, memoryBytes, pids)
  return offer.slots >= slots and offer.cpus + 1e-9 >= cpus and offer.memoryBytes >= memoryBytes and offer.pids >= pids
end
-- What a holder offers that has this room: less by what was given to it since, of which it has not heard.
local function offer_of(offers, holder, text, series, seen, at)
  local offer, posted = cjson.decode(text), redis.call('HGET', offers, holder)
  offer.series, offer.given, offer.untilMs, offer.onTheWay = tonumber(series), tonumber(seen), at + ${OFFER_MS}, {}
  local last = posted and cjson.decode(posted)
  if not last or last.series ~= offer.series then return offer end
  offer.given = last.given
  for i = math.max(1, #last.onTheWay - (last.given - seen) + 1), #last.onTheWay do give(offer, unpack(last.onTheWay[i])) end
  return offer
end
local function post(offers, holder, offer)
  redis.call('HSET', offers, holder, cjson.encode(offer))
  redis.call('PEXPIRE', offers, ${OFFER_MS}) -- All of them are void by then.
end
-- The holder that has most room among some of those that offer any, if it has enough and listens; and its offer.
local function roomiest(offers, at, cpus, memoryBytes, pids)
  local best, whose
  local found = redis.call('HRANDFIELD', offers, ${OFFERS_LOOKED_AT}, 'WITHVALUES')
  for i = 1, #found, 2 do
    local holder, offer = found[i], cjson.decode(found[i + 1])
    if offer.untilMs <= at or redis.call('PUBSUB', 'NUMSUB', '${channels.handed("")}' .. holder)[2] == 0 then
      redis.call('HDEL', offers, holder)
    elseif fits(offer, 1, cpus, memoryBytes, pids) and #offer.onTheWay < ${MAX_ON_THE_WAY}
      and (not best or offer.cpus > best.cpus) then
      best, whose = offer, holder
    end
  end
  return best, whose
end
`;

export function define(body: string): Transition {
  const lua = PRELUDE + body;
  return { lua, sha1: createHash("sha1").update(lua).digest("hex") };
}
