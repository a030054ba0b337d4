// How an attempt ends, as Lua functions that stand before the scripts of transitions.ts: the run is finished, or it waits for its next
// attempt.
//
// Three things bring a run back, and each is counted by itself: it was *moved* (its program had not been started: MAX_MOVES), it was *lost*
// with its host after that (`retries`), or it has ended as its policy names it (`retry`), and then its back-off delays it. So an attempt's number is
// 1 + moved + lost + retried.

import { DEAD_LETTERS } from "./index-parts.ts";
import { channels, keys } from "./keys.ts";
import { KEPT_ATTEMPTS } from "./retry.ts";
import { TOLD_BYTES } from "./told.ts";

export const ENDING_PARTS = `
-- What a gateway is told of a run that has finished: all of it, if it is small (told.ts).
local function told(run, id)
  local out, err = redis.call('STRLEN', run .. ':stdout'), redis.call('STRLEN', run .. ':stderr')
  if out + err + redis.call('HSTRLEN', run, 'request') > ${TOLD_BYTES} then return cjson.encode({ id }) end
  local head = cjson.encode({ id, out, err, redis.call('HGETALL', run) })
  return head .. string.char(10) .. (redis.call('GET', run .. ':stdout') or '') .. (redis.call('GET', run .. ':stderr') or '')
end
local function is_failure(outcome)
  local it = cjson.decode(outcome)
  return it.kind ~= 'cancelled' and not (it.kind == 'exited' and it.exitCode == 0)
end
-- The run, of which p was read before, is over. How: its outcome, for how many ms it is kept, and what else its record is to have.
local function finish(id, p, at, how)
  local run, fields = '${keys.run("")}' .. id, how.facts or {}
  for _, part in ipairs({ 'state', 'finished', 'finishedAt', at, 'outcome', how.outcome }) do fields[#fields + 1] = part end
  redis.call('HSET', run, unpack(fields))
  -- What only a run that waits or is held needs: most of the records that Redis keeps are of finished runs.
  redis.call('HDEL', run, 'pool', 'cpus', 'memoryBytes', 'pids', 'size', 'priority', 'key', 'keyMax', 'dueAt', 'claimedAt', 'holder', 'pulling', 'stdinClosed')
  redis.call('ZREM', '${keys.deadlines}', id)
  redis.call('ZADD', '${keys.finished}', at + how.retention, id)
  file(id, p.tenant, p.state, 'finished')
  if p.webhook then redis.call('ZADD', '${keys.webhooks}', at, 'run:' .. id) end
  local gateways = redis.call('SMEMBERS', run .. ':waiters')
  local message = gateways[1] and told(run, id)
  for _, gateway in ipairs(gateways) do
    redis.call('PUBLISH', '${channels.gateway("")}' .. gateway, message)
  end
  if p.retryable and is_failure(how.outcome) then
    redis.call('ZADD', facet(p.tenant, '${DEAD_LETTERS}'), 0, id) -- And keeps its input and its files, with which it may be tried again.
    redis.call('DEL', run .. ':waiters')
  else
    redis.call('DEL', run .. ':waiters', run .. ':stdin', run .. ':files')
  end
  redis.call('PUBLISH', '${channels.changed("")}' .. id, '')
  if p.batch then end_item(p.batch, id, at, how) end
  serve_let_in(p, at)
end
-- What is kept of an attempt that was not the last.
local function keep_attempt(run, at, outcome, receipt)
  local held = redis.call('HMGET', run, 'attempt', 'startedAt')
  local started = held[2] and ',"startedAt":' .. held[2] or ''
  local paper = receipt and ',"receipt":' .. receipt or ''
  redis.call('HSET', run, 'attempt:' .. held[1], '{"attempt":' .. held[1] .. started .. ',"finishedAt":' .. at .. ',"outcome":' .. outcome .. paper .. '}')
  redis.call('HDEL', run, 'attempt:' .. held[1] - ${KEPT_ATTEMPTS})
end
-- The run waits for its next attempt, from a moment on, at the longest for so many ms. Whoever held it has left.
-- Because: "moved", "lost" or "retried". The answer is the next attempt.
local function requeue(run, id, p, at, how)
  keep_attempt(run, at, how.outcome, how.receipt)
  p.dueAt = at + how.delay
  redis.call('HSET', run, 'state', 'queued', 'queuedAt', at)
  if how.delay > 0 then redis.call('HSET', run, 'dueAt', p.dueAt) else redis.call('HDEL', run, 'dueAt') end
  if how.because ~= 'moved' then redis.call('HINCRBY', run, how.because, 1) end
  redis.call('HDEL', run, 'host', 'holder', 'startedAt', 'givenUp', 'pulling', 'stdout', 'stderr', 'artifacts', 'receipt')
  redis.call('DEL', run .. ':stdout', run .. ':stderr', run .. ':artifacts', run .. ':artifact-tar')
  file(id, p.tenant, p.state, 'queued')
  redis.call('ZADD', '${keys.deadlines}', p.dueAt + how.queueMs, id)
  local attempt = redis.call('HINCRBY', run, 'attempt', 1)
  if p.batch then redis.call('ZADD', batch_of(p.batch) .. ':live', 'XX', 0, id) end -- If it stops, this is to be cancelled, too.
  enqueue(id, p, at)
  redis.call('PUBLISH', '${channels.changed("")}' .. id, '')
  redis.call('PUBLISH', '${channels.waits("")}' .. p.pool, '')
  serve_some(p.pool, '${keys.offers("")}' .. p.pool, at)
  serve_let_in(p, at)
  return attempt
end
`;
