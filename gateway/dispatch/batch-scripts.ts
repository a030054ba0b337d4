// What gateways do with batches, as Lua that Redis runs atomically; core/batch-parts.ts has what a batch is.
//
// An item that waits is a string: `PLACE SHAPE BYTES BYTES`, a line with its key, so many bytes of request and of stdin, and the rest is its files. Its shape is
// what the queue needs to know of a run (items.ts), kept once for all that have the same. With a template the request is the template's
// pieces, joined by those bytes.

import { channels, keys } from "../../core/keys.ts";
import { LEASE_MS } from "../../core/offer.ts";
import { define } from "../../core/transition-parts.ts";
import { BATCH_FEED_PARTS } from "./batch-feed-parts.ts";

/** How soon a batch is looked at again that finds no room, in its window or in the queue: not all that makes some tells of it. */
const RETRY_MS = 500;
/** Whoever feeds a batch and dies leaves it due again after this. */
const PARK_MS = 5_000;

/**
 * KEYS: batch, its tenant's batches, idempotency key or "". ARGV: id, tenant, max unfinished, max kept, ms that the key is remembered, then field, value …
 * → {"made" | "known", id} | {"full"}
 */
export const create = define(`
  local batch, index, idempotency = unpack(KEYS)
  local id, tenant, max, kept, remembered = unpack(ARGV)
  local known = idempotency ~= '' and redis.call('GET', idempotency)
  if known then return { 'known', known } end
  if whole(redis.call('HGET', '${keys.use("")}' .. tenant, 'batches')) >= tonumber(max) then return { 'full' } end
  local at = now()
  redis.call('HSET', batch, 'id', id, 'tenant', tenant, 'createdAt', at, 'touchedAt', at, unpack(ARGV, 6))
  redis.call('HINCRBY', '${keys.use("")}' .. tenant, 'batches', 1)
  redis.call('ZADD', index, 0, id)
  redis.call('ZREMRANGEBYRANK', index, 0, -1 - kept)
  if idempotency ~= '' then redis.call('SET', idempotency, id, 'PX', remembered) end
  wake_batch(id, at)
  return { 'made', id }
`);

/**
 * Lines of the input, which begin after line \`from\` and end with line \`to\`. Those that are there already are passed over, so the same lines may come twice.
 * KEYS: batch. ARGV: id, from, to, "1" to close, max items, max bytes that wait, retention, how many shapes, shape, text …, then line, "item" | "malformed", text …
 * → {"ok" | "missing" | "closed" | "gap" | "items" | "bytes", lines, items}
 */
export const accept = define(`
  local batch = KEYS[1]
  local id, from, to, close, max_items, max_bytes, retention, shapes = unpack(ARGV)
  local f = redis.call('HMGET', batch, 'tenant', 'lines', 'total', 'bytes', 'closed')
  local lines, total, bytes = whole(f[2]), whole(f[3]), whole(f[4])
  if not f[1] then return { 'missing', 0, 0 } end
  if f[5] and tonumber(to) > lines then return { 'closed', lines, total } end
  if tonumber(from) > lines then return { 'gap', lines, total } end
  local at, answer, fresh, given = now(), 'ok', {}, {}
  for i = 9, 8 + 2 * shapes, 2 do given[ARGV[i]] = ARGV[i + 1] end
  -- The name and text of an item's shape, if it is not kept yet.
  local function new_shape(text)
    local name = string.match(text, '^%S+')
    local shape = given[name]
    given[name] = nil -- Looked for once.
    if shape and redis.call('HEXISTS', batch .. ':shapes', name) == 0 then return name, shape end
    return '', ''
  end
  local function flush()
    if fresh[1] then redis.call('RPUSH', batch .. ':items', unpack(fresh)) end
    fresh = {}
    redis.call('HSET', batch, 'total', total, 'bytes', bytes)
  end
  for i = 9 + 2 * shapes, #ARGV, 3 do
    local line, text = tonumber(ARGV[i]), ARGV[i + 2]
    if line > lines then
      if total >= tonumber(max_items) then answer = 'items' break end
      local name, shape = '', ''
      if ARGV[i + 1] == 'item' then name, shape = new_shape(text) end
      if bytes + #text + #name + #shape > tonumber(max_bytes) then answer = 'bytes' break end
      if name ~= '' then redis.call('HSET', batch .. ':shapes', name, shape) end
      lines, total = line, total + 1
      if ARGV[i + 1] == 'item' then
        fresh[#fresh + 1] = (total - 1) .. ' ' .. text
        bytes = bytes + #text + #name + #shape
      else
        flush() -- It may stop the batch, and what waits is what is cancelled.
        local key, outcome = string.match(text, '^([^\\n]*)\\n(.*)$')
        redis.call('HINCRBY', batch, 'malformed', 1)
        note_end(id, total - 1, key, outcome, at)
        if redis.call('HGET', batch, 'stopping') then answer = 'closed' break end
        bytes = whole(redis.call('HGET', batch, 'bytes'))
      end
    end
  end
  flush()
  if answer == 'ok' then lines = math.max(lines, tonumber(to)) end
  redis.call('HSET', batch, 'lines', lines, 'touchedAt', at)
  if answer == 'ok' and close == '1' then redis.call('HSET', batch, 'closed', '1') end
  wake_waiting(id, at)
  conclude(id, at, retention)
  return { answer, lines, total }
`);

/**
 * KEYS: batch. ARGV: id, "pause" | "resume" | "cancel", retention → {"done" | "over" | "missing"}
 */
export const control = define(`
  local batch = KEYS[1]
  local id, verb, retention = unpack(ARGV)
  local f = redis.call('HMGET', batch, 'tenant', 'state', 'stopping')
  if not f[1] then return { 'missing' } end
  if f[2] then return { 'over' } end
  local at = now()
  if verb == 'cancel' then
    redis.call('HDEL', batch, 'paused')
    for _, run in ipairs(redis.call('ZRANGE', batch .. ':live', 0, -1)) do redis.call('ZADD', batch .. ':live', 0, run) end
    stop_batch(id, 'cancel', at)
    conclude(id, at, retention)
  elseif not f[3] and verb == 'pause' then
    redis.call('HSET', batch, 'paused', '1')
  elseif verb == 'resume' then
    redis.call('HDEL', batch, 'paused', 'markAt', 'markDone', 'lastAt', 'lastDone')
    wake_waiting(id, at)
  end
  redis.call('PUBLISH', '${channels.changed("")}' .. id, '')
  return { 'done' }
`);

/** ARGV: how many at most → ids of batches that are due, longest first */
export const due = define(`
  return redis.call('ZRANGEBYSCORE', '${keys.batchesDue}', '-inf', now(), 'LIMIT', 0, ARGV[1])
`);

/**
 * Makes runs of the items that are next, as many as there is room for.
 * KEYS: batch. ARGV: id, how many at most, max queued, kept runs, ms after which input that does not come is over, retention
 * → "more" if there may be more to do at once | "halt" if what is live is to be stopped | "rest"
 */
export const feed = define(`${BATCH_FEED_PARTS}
  local batch = KEYS[1]
  local id, most, max_queued, kept, idle, retention = unpack(ARGV)
  local at = now()
  local f = redis.call('HMGET', batch, 'tenant', 'state', 'stopping', 'paused', 'closed', 'touchedAt')
  if not f[1] or f[2] then
    redis.call('ZREM', '${keys.batchesDue}', id)
    return 'rest'
  end
  if f[3] then
    redis.call('ZADD', '${keys.batchesDue}', at + ${PARK_MS}, id)
    return 'halt'
  end
  local idle_at = whole(f[6]) + idle
  if not f[5] and idle_at <= at then
    redis.call('HSET', batch, 'closed', '1')
    if conclude(id, at, retention) then return 'rest' end
  end
  local fed, why = 0, 'room'
  if not f[4] then fed, why = feed_items(id, f[1], tonumber(most), tonumber(max_queued), kept, at, retention) end
  if conclude(id, at, retention) then return 'rest' end
  if redis.call('HGET', batch, 'stopping') then return 'more' end
  local waits = not f[4] and redis.call('LLEN', batch .. ':items') > 0
  if waits then redis.call('ZADD', '${keys.batchesDue}', at + (why == 'most' and ${PARK_MS} or ${RETRY_MS}), id)
  elseif not f[5] then redis.call('ZADD', '${keys.batchesDue}', math.max(idle_at, at + ${RETRY_MS}), id)
  else redis.call('ZREM', '${keys.batchesDue}', id) end
  return waits and why == 'most' and 'more' or 'rest'
`);

/**
 * Of a batch that stops: what is queued is cancelled, and if it is cancelled as a whole, what is on a host is to be ended.
 * KEYS: batch. ARGV: id, how many at most, cancelled outcome, retention → {"1" if there may be more, run, host, …}
 */
export const halt = define(`
  local batch = KEYS[1]
  local id, most, outcome, retention = unpack(ARGV)
  local at, answer, why = now(), { '0' }, redis.call('HGET', batch, 'stopping')
  local left = redis.call('ZREVRANGEBYSCORE', batch .. ':live', 0, 0, 'LIMIT', 0, most) -- The last are those that wait.
  for _, run_id in ipairs(left) do
    local run = '${keys.run("")}' .. run_id
    local held = redis.call('HMGET', run, 'state', 'host')
    if not held[1] or held[1] == 'finished' then
      redis.call('ZREM', batch .. ':live', run_id)
    elseif held[1] == 'queued' then
      local p = placing(run)
      give_up_place(run_id, p, at)
      finish(run_id, p, at, { outcome = outcome, retention = retention })
    else
      redis.call('ZADD', batch .. ':live', 1, run_id)
      if why == 'cancel' then
        redis.call('HSET', run, 'cancelRequested', '1')
        answer[#answer + 1], answer[#answer + 2] = run_id, held[2] or ''
      end
    end
  end
  if #left == tonumber(most) then answer[1] = '1' end
  conclude(id, at, retention)
  if answer[1] == '0' and not redis.call('HGET', batch, 'state') then redis.call('ZADD', '${keys.batchesDue}', at + ${LEASE_MS}, id) end
  return answer
`);

/** KEYS: batch. ARGV: fields → {now, how many wait, how many are live, how many are over, the fields' values} */
export const read = define(`
  local batch = KEYS[1]
  return { now(), redis.call('LLEN', batch .. ':items'), redis.call('ZCARD', batch .. ':live'), redis.call('LLEN', batch .. ':done'), redis.call('HMGET', batch, unpack(ARGV)) }
`);
