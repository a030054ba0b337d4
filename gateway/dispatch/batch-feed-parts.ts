// How an item of a batch becomes a run that waits, as Lua functions that stand before the script `feed`.
//
// It is a run like any other from there on. Of the same priority, a run that somebody has asked for by itself goes before those of
// batches: half a step is added to theirs.

import { FEED_WINDOW, MAX_ASIDE } from "../../core/batch-parts.ts";
import { channels, keys } from "../../core/keys.ts";

/** A step that has written so many bytes of records ends: Redis does nothing else meanwhile. */
const STEP_BYTES = 4 * 2 ** 20;
/** An item that no host could hold is refused only once it has been so this long: a large host that is started anew is away for a while. */
const NO_HOST_MS = 5 * 60_000;

export const BATCH_FEED_PARTS = `
-- In Crockford's digits, as core/ids.ts has it.
local function run_id_of(id, place)
  local digits, text = '0123456789abcdefghjkmnpqrstvwxyz', ''
  for _ = 1, 4 do
    local digit = place % 32
    text, place = string.sub(digits, digit + 1, digit + 1) .. text, (place - digit) / 32
  end
  return 'run_' .. string.sub(id, 5) .. text
end
local function parse_item(item)
  local first = string.find(item, '\\n', 1, true)
  local second = string.find(item, '\\n', first + 1, true)
  local place, shape, body, stdin = string.match(string.sub(item, 1, first - 1), '^(%d+) (%S+) (%d+) (%d+)$')
  local rest = string.sub(item, second + 1)
  return { place = tonumber(place), shape = shape, key = string.sub(item, first + 1, second - 1), body = string.sub(rest, 1, body),
    stdin = string.sub(rest, body + 1, body + stdin), files = string.sub(rest, body + stdin + 1) }
end
-- A shape: pool, cpus, memory, pids, size, priority, concurrency key or "", its max, due (\`+ms\` or a moment), queue ms, webhook's host or "", "1" or "" if it may be tried again.
local function placing_of(shape, id, tenant, at)
  local p = { batch = id, tenant = tenant, pool = shape[1], cpus = tonumber(shape[2]), memoryBytes = tonumber(shape[3]), pids = tonumber(shape[4]) }
  p.size, p.priority, p.key, p.keyMax = tonumber(shape[5]), tonumber(shape[6]) + 0.5, shape[7] ~= '' and shape[7] or nil, tonumber(shape[8])
  p.line, p.dueAt = p.pool .. ':' .. tenant, string.sub(shape[9], 1, 1) == '+' and at + string.sub(shape[9], 2) or tonumber(shape[9])
  return p
end
-- Whether no host could hold it, nor one as large, since so long that it need not be waited for; or, second, whether it is to wait.
-- Of each pool it is noted what did not fit, and since when, until something as large does.
local function is_hopeless(batch, unfit, p, at)
  local name = 'unfit:' .. p.pool
  if unfit[p.pool] == nil then unfit[p.pool] = cjson.decode(redis.call('HGET', batch, name) or 'false') end
  local known = unfit[p.pool]
  local as_large = known and p.cpus >= known.cpus and p.memoryBytes >= known.memoryBytes and p.pids >= known.pids
  if could_ever_fit('${keys.offers("")}' .. p.pool, at, p) then
    if as_large then redis.call('HDEL', batch, name) unfit[p.pool] = false end
    return false, false
  end
  if as_large then return at - known.since >= ${NO_HOST_MS}, true end
  unfit[p.pool] = { cpus = p.cpus, memoryBytes = p.memoryBytes, pids = p.pids, since = at }
  redis.call('HSET', batch, name, cjson.encode(unfit[p.pool]))
  return false, true
end
-- What comes of an item instead of a run, if anything; and whether it is to wait until that is certain.
local function refusal_of(batch, unfit, p, at)
  local limit = over_quota(p, true)
  if limit then return { kind = 'rejected', code = 'quota_exceeded', message = "the tenant's limit of " .. limit .. ' does not allow it' } end
  local hopeless, waits = is_hopeless(batch, unfit, p, at)
  if not hopeless then return nil, waits end
  return { kind = 'rejected', code = 'no_host_large_enough', message = 'no host of the pool ' .. p.pool .. ' could hold the run' }, false
end
-- The pool has as many that wait as it may, or the tenant has. One of its own a batch may always have, or it would never go on.
local function is_full(p, max_queued)
  if redis.call('ZCARD', '${keys.queued("")}' .. p.pool) >= max_queued then return true end
  local may = redis.call('HGET', '${keys.tenant("")}' .. p.tenant, 'queued')
  return may and whole(redis.call('HGET', '${keys.use("")}' .. p.tenant, 'queued')) >= math.max(1, tonumber(may))
end
local function make_run(id, item, shape, p, at)
  local run_id = run_id_of(id, item.place)
  local run = '${keys.run("")}' .. run_id
  local fields = { 'id', run_id, 'state', 'queued', 'tenant', p.tenant, 'pool', p.pool, 'cpus', shape[2], 'memoryBytes', shape[3], 'pids', shape[4],
    'size', shape[5], 'priority', p.priority, 'attempt', 1, 'createdAt', at, 'queuedAt', at, 'request', item.request, 'stdinClosed', '1',
    'batch', id, 'item', item.place, 'itemKey', item.key }
  local function also(name, value) fields[#fields + 1], fields[#fields + 2] = name, value end
  if p.key then also('key', p.key) also('keyMax', p.keyMax) end
  if p.dueAt > at then also('dueAt', p.dueAt) end
  if shape[11] ~= '' then also('webhook', shape[11]) end
  if shape[12] ~= '' then also('retryable', shape[12]) end
  redis.call('HSET', run, unpack(fields))
  if item.stdin ~= '' then redis.call('SET', run .. ':stdin', item.stdin) end
  if item.files ~= '' then redis.call('SET', run .. ':files', item.files) end
  file(run_id, p.tenant, nil, 'queued')
  for _, set in ipairs(facets_of(p.tenant, item.request)) do redis.call('ZADD', set, 0, run_id) end
  redis.call('ZADD', '${keys.deadlines}', math.max(at, p.dueAt) + shape[10], run_id)
  redis.call('ZADD', batch_of(id) .. ':live', 0, run_id)
  enqueue(run_id, p, at)
end
local function template_of(batch)
  local f = redis.call('HMGET', batch, 'template', 'templateStdin', 'templateFiles')
  return { pieces = f[1] and cjson.decode(f[1]), stdin = f[2] or '', files = f[3] or '' }
end
local function fill(item, template)
  item.request = item.body
  if not template.pieces then return end
  item.request = table.concat(template.pieces, item.body)
  if item.stdin == '' then item.stdin = template.stdin end
  item.files = template.files
end
-- → how many were fed, and what ended it: "most", "room" (none in the batch's window), "queue" (none in the queue), "none" left
local function feed_items(id, tenant, most, max_queued, kept, at, retention)
  local batch, shapes, pools, fed, bytes, why = batch_of(id), {}, {}, 0, 0, 'most'
  local most_live = tonumber(redis.call('HGET', batch, 'concurrency') or math.huge)
  local in_line, aside, live = waiting_of(batch)
  local template, unfit = nil, {}
  while fed < most and bytes < ${STEP_BYTES} do
    local text = redis.call('LINDEX', batch .. ':items', 0)
    if not text then why = 'none' break end
    if in_line >= ${FEED_WINDOW} or aside >= ${MAX_ASIDE} or live >= most_live then why = 'room' break end
    local item = parse_item(text)
    local shape = shapes[item.shape] or cjson.decode(redis.call('HGET', batch .. ':shapes', item.shape))
    shapes[item.shape] = shape
    local p = placing_of(shape, id, tenant, at)
    local refusal, waits = refusal_of(batch, unfit, p, at)
    if waits then why = 'queue' break end
    if not refusal and is_full(p, max_queued) then why = 'queue' break end
    redis.call('LPOP', batch .. ':items')
    redis.call('HINCRBY', batch, 'bytes', 1 + #tostring(item.place) - #text)
    fed = fed + 1
    if refusal then
      note_end(id, item.place, item.key, cjson.encode(refusal), at)
    else
      if pools[p.pool] == nil then pools[p.pool] = redis.call('ZCARD', '${keys.queued("")}' .. p.pool) == 0 end
      template = template or template_of(batch)
      fill(item, template)
      bytes = bytes + #item.request + #item.stdin + #item.files
      make_run(id, item, shape, p, at)
      if forget_surplus(tenant, kept) == 1 then redis.call('ZADD', '${keys.filed}', 0, tenant) end
      live = live + 1
      if p.aside then aside = p.aside else in_line = in_line + 1 end
    end
  end
  for pool, was_empty in pairs(pools) do
    serve_some(pool, '${keys.offers("")}' .. pool, at)
    if was_empty and redis.call('SCARD', '${keys.lines("")}' .. pool) > 0 then redis.call('PUBLISH', '${channels.waits("")}' .. pool, '') end
  end
  -- What was given to hosts at once has made room.
  if why == 'room' and live < most_live and has_room(batch) then why = 'most' end
  return fed, why
end
`;
