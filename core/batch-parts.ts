// What a batch keeps to while its runs come and go, as Lua functions that stand before the scripts of transitions.ts.
//
//   accepted ─▶ items (a list: what waits here costs a string) ─▶ fed into the queue, in order ─▶ live ─▶ ends, done
//
// One idea: a batch holds its items back. Of them so few are runs that the queue never sees the flood, and as many as hosts can
// soon take; whenever one starts or ends the batch comes due, and any gateway feeds the next. An item's run has its id from the
// batch and its place in it, and leaves the list in the step that makes the run: it cannot be made twice, and cannot be lost.
//
// In the hash of a batch: `total`, `lines` and `bytes` of what was accepted; `active`, how many are on hosts; `aside`, how many
// runs wait for their time or for their key's gate, and so are in nobody's line; `succeeded`, `failed`, `cancelled`; `closed` once there is no more input; `paused`; `stopping`, why nothing more is fed; `state` once it is over.

import { channels, keys } from "./keys.ts";

/** How many runs of a batch stand in line at most. Half of them are what hosts have while a gateway fetches more. */
export const FEED_WINDOW = 128;
/**
 * A batch of which so many runs stand aside is fed no more. They keep nobody from the hosts, so they are not of the window; but each is a
 * record, and a place in the pool's queue. Those that go back from a host, to be tried again, may be more.
 */
export const MAX_ASIDE = 1_024;
/** The pace is that of so long at least, and of twice that at most. */
const PACE_MS = 30_000;

export const BATCH_PARTS = `
local function batch_of(id) return '${keys.batch("")}' .. id end
local function whole(text) return tonumber(text or 0) or 0 end
-- The first place of an item that waits, or nil.
local function place_of(item)
  return item and tonumber(string.match(item, '^%d+'))
end
-- A batch that is due is no more so than before: gateways are told once.
local function wake_batch(id, at)
  local due = redis.call('ZSCORE', '${keys.batchesDue}', id)
  if due and tonumber(due) <= at then return end
  redis.call('ZADD', '${keys.batchesDue}', at, id)
  redis.call('PUBLISH', '${channels.batches}', id)
end
-- One more of a batch's runs waits for its time or for its key's gate, or one fewer does. The number is left in \`p\`.
local function stand_aside(p, by)
  if p.batch then p.aside = redis.call('HINCRBY', batch_of(p.batch), 'aside', by) end
end
-- How many of its runs are in line, how many stand aside, and how many are live.
local function waiting_of(batch)
  local f, live = redis.call('HMGET', batch, 'active', 'aside'), redis.call('ZCARD', batch .. ':live')
  local aside = math.max(0, whole(f[2]))
  return live - whole(f[1]) - aside, aside, live
end
local function has_room(batch)
  local in_line, aside = waiting_of(batch)
  return in_line <= ${FEED_WINDOW / 2} and aside < ${MAX_ASIDE}
end
-- What waits may be fed: whoever feeds it finds out for how much there is room.
local function wake_waiting(id, at)
  local batch = batch_of(id)
  if redis.call('LLEN', batch .. ':items') > 0 and redis.call('HEXISTS', batch, 'paused') == 0 then wake_batch(id, at) end
end
-- Something has left the queue, or a host: is it time for more?
local function make_room(id, at)
  local batch = batch_of(id)
  if redis.call('LLEN', batch .. ':items') == 0 then return end
  local f = redis.call('HMGET', batch, 'concurrency', 'paused')
  if f[2] then return end
  if f[1] or has_room(batch) then wake_batch(id, at) end
end
-- Nothing more is fed. What has not become a run is over; a gateway sees to what has.
local function stop_batch(id, why, at)
  local batch = batch_of(id)
  local left = redis.call('LLEN', batch .. ':items')
  redis.call('HSET', batch, 'stopping', why, 'closed', '1', 'bytes', 0)
  if left > 0 then
    redis.call('HINCRBY', batch, 'cancelled', left)
    redis.call('HSET', batch, 'unfedFrom', place_of(redis.call('LINDEX', batch .. ':items', 0)))
    redis.call('DEL', batch .. ':items')
  end
  wake_batch(id, at)
end
-- What came of one item.
local function note_end(id, place, key, outcome, at)
  local batch, how = batch_of(id), cjson.decode(outcome)
  redis.call('HSET', batch .. ':ends', place, key .. '\\n' .. outcome)
  redis.call('RPUSH', batch .. ':done', place)
  redis.call('HINCRBY', batch, how.kind == 'exited' and how.exitCode == 0 and 'succeeded' or how.kind == 'cancelled' and 'cancelled' or 'failed', 1)
  local f = redis.call('HMGET', batch, 'maxFailures', 'failed', 'cancelled', 'stopping', 'markAt')
  if f[1] and not f[4] and whole(f[2]) + whole(f[3]) > tonumber(f[1]) then stop_batch(id, 'failures', at) end
  if at - whole(f[5]) > ${PACE_MS} then
    local f = redis.call('HMGET', batch, 'markAt', 'markDone')
    redis.call('HSET', batch, 'lastAt', f[1] or at, 'lastDone', whole(f[2]), 'markAt', at, 'markDone', redis.call('LLEN', batch .. ':done'))
  end
  redis.call('PUBLISH', '${channels.changed("")}' .. id, '')
end
-- It is over once there is no more input, nothing waits and nothing runs.
local function conclude(id, at, retention)
  local batch = batch_of(id)
  local f = redis.call('HMGET', batch, 'closed', 'state', 'stopping', 'tenant', 'webhook')
  if not f[1] or f[2] or redis.call('EXISTS', batch .. ':items', batch .. ':live') > 0 then return false end
  redis.call('HSET', batch, 'state', f[3] == 'cancel' and 'cancelled' or 'finished', 'finishedAt', at)
  redis.call('HDEL', batch, 'paused')
  redis.call('DEL', batch .. ':shapes')
  redis.call('ZREM', '${keys.batchesDue}', id)
  if redis.call('HINCRBY', '${keys.use("")}' .. f[4], 'batches', -1) <= 0 then redis.call('HDEL', '${keys.use("")}' .. f[4], 'batches') end
  if f[5] then redis.call('ZADD', '${keys.webhooks}', at, 'batch:' .. id) end
  for _, suffix in ipairs({ '', ':ends', ':done' }) do redis.call('PEXPIRE', batch .. suffix, retention) end
  redis.call('PUBLISH', '${channels.changed("")}' .. id, '')
  return true
end
-- An item's run has ended, and so has the item.
local function end_item(id, run_id, at, how)
  if redis.call('ZREM', batch_of(id) .. ':live', run_id) == 0 then return end
  local item = redis.call('HMGET', '${keys.run("")}' .. run_id, 'item', 'itemKey')
  note_end(id, item[1], item[2] or '', how.outcome, at)
  make_room(id, at)
  conclude(id, at, how.retention)
end
local function item_started(id, at)
  redis.call('HINCRBY', batch_of(id), 'active', 1)
  make_room(id, at)
end
local function item_left(id)
  redis.call('HINCRBY', batch_of(id), 'active', -1)
end
`;
