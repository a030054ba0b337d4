// What the scripts of transitions.ts share: Lua functions, of which each script is given those that it uses.

import { createHash } from "node:crypto";
import { BATCH_PARTS } from "./batch-parts.ts";
import { ENDING_PARTS } from "./ending-parts.ts";
import { INDEX_PARTS } from "./index-parts.ts";
import { channels } from "./keys.ts";
import { MAX_ON_THE_WAY, OFFER_MS, OFFERS_LOOKED_AT } from "./offer.ts";
import { QUEUE_PARTS } from "./queue-parts.ts";
import { SHARE_PARTS } from "./share-parts.ts";

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
  local now_held = redis.call('HMGET', run, 'state', 'attempt', 'holder', 'cancelRequested', 'forced', 'tenant', 'startedAttempts', 'pulling')
  if now_held[1] ~= 'starting' and now_held[1] ~= 'running' then return nil end
  if now_held[2] ~= attempt or now_held[3] ~= holder then return nil end
  return { state = now_held[1], cancel = now_held[4] == '1', forced = now_held[5] == '1',
    tenant = now_held[6], started_attempts = tonumber(now_held[7] or 0), pulling = now_held[8] }
end
-- The word of the program's start comes before that of its end, but for a Redis that did not know the script of the first.
local function note_start(run, mine, at)
  if mine.state == 'starting' then redis.call('HSET', run, 'startedAt', at, 'startedAttempts', mine.started_attempts + 1) end
end
local function give(offer, p)
  offer.slots, offer.cpus = offer.slots - 1, offer.cpus - p.cpus
  offer.memoryBytes, offer.pids = offer.memoryBytes - p.memoryBytes, offer.pids - p.pids
  table.insert(offer.onTheWay, { p.cpus, p.memoryBytes, p.pids })
end
local function fits(room, slots, p)
  return room.slots >= slots and room.cpus + 1e-9 >= p.cpus and room.memoryBytes >= p.memoryBytes and room.pids >= p.pids
end
-- What a holder offers that has this room: less by what was given to it since, of which it has not heard.
local function offer_of(offers, holder, text, series, seen, at)
  local offer, posted = cjson.decode(text), redis.call('HGET', offers, holder)
  offer.series, offer.given, offer.untilMs, offer.onTheWay = tonumber(series), tonumber(seen), at + ${OFFER_MS}, {}
  local last = posted and cjson.decode(posted)
  if not last or last.series ~= offer.series then return offer end
  offer.given = last.given
  for i = math.max(1, #last.onTheWay - (last.given - seen) + 1), #last.onTheWay do
    give(offer, { cpus = last.onTheWay[i][1], memoryBytes = last.onTheWay[i][2], pids = last.onTheWay[i][3] })
  end
  return offer
end
local function post(offers, holder, offer)
  redis.call('HSET', offers, holder, cjson.encode(offer))
  redis.call('PEXPIRE', offers, ${OFFER_MS}) -- All of them are void by then.
end
-- Some of the holders that offer room and listen, and their offers.
local function some_offers(offers, at)
  local found, i = redis.call('HRANDFIELD', offers, ${OFFERS_LOOKED_AT}, 'WITHVALUES'), -1
  return function()
    while i + 2 <= #found do
      i = i + 2
      local holder, offer = found[i], cjson.decode(found[i + 1])
      if offer.untilMs > at and redis.call('PUBSUB', 'NUMSUB', '${channels.handed("")}' .. holder)[2] > 0 then return holder, offer end
      redis.call('HDEL', offers, holder)
    end
  end
end
-- The one that has most room, if it has enough; and its offer.
local function roomiest(offers, at, p)
  local best, whose
  for holder, offer in some_offers(offers, at) do
    if fits(offer, 1, p) and #offer.onTheWay < ${MAX_ON_THE_WAY} and (not best or offer.cpus > best.cpus) then best, whose = offer, holder end
  end
  return whose, best
end
-- Whether some host could hold the run were nothing on it, which is so also where there is none to be asked; and whether there is one.
local function could_ever_fit(offers, at, p)
  local any = false
  for _, text in ipairs(redis.call('HVALS', offers)) do
    local offer = cjson.decode(text)
    if offer.untilMs > at then
      if fits(offer.capacity, 1, p) then return true, true end
      any = true
    end
  end
  return not any, any
end
`;

/** In the order in which they stand: a function of Lua's knows only those before it. */
const FUNCTIONS = [PRELUDE, BATCH_PARTS, INDEX_PARTS, SHARE_PARTS, QUEUE_PARTS, ENDING_PARTS]
  .join("\n")
  .split(/^(?=local function )/m)
  .flatMap((text) => {
    const name = /^local function (\w+)\(/.exec(text)?.[1];
    return name === undefined ? [] : [{ text, calls: new RegExp(`\\b${name}\\(`) }];
  });

/** A script, before which only the functions stand that it uses: Redis makes all of them anew at each call. */
export function define(body: string): Transition {
  const lua = FUNCTIONS.reduceRight((script, { text, calls }) => (calls.test(script) ? text + script : script), body);
  return { lua, sha1: createHash("sha1").update(lua).digest("hex") };
}
