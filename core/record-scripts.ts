// What is written to a record, or beside it, while its state stays: output, input, the terminal's size, how far the image has
// come, who waits for the end.

import { channels, keys } from "./keys.ts";
import { define } from "./transition-parts.ts";

const CHANGED = channels.changed("");

/**
 * Adds output at its offset while the attempt is held; what is there already (a command sent twice) is not added again.
 * ARGV: id, attempt, holder, offset, bytes → 1 | 0 if the attempt is over | -1 if bytes that were stored before are missing
 */
const append = define(`
  local run, stream = unpack(KEYS)
  local id, attempt, holder, offset, bytes = unpack(ARGV)
  if not held(run, attempt, holder) then return 0 end
  local length = redis.call('STRLEN', stream)
  if length == offset + #bytes then return 1 end
  if length ~= tonumber(offset) then return -1 end
  redis.call('APPEND', stream, bytes)
  redis.call('PUBLISH', '${CHANGED}' .. id, '')
  return 1
`);

/** More stdin of a streamed run. ARGV: id, bytes, "1" to close, max bytes → length so far, -1 closed or over, -2 too much */
const feed = define(`
  local run, stdin = unpack(KEYS)
  local id, bytes, close, max = unpack(ARGV)
  local held = redis.call('HMGET', run, 'state', 'stdinClosed')
  if not held[1] or held[1] == 'finished' or held[2] == '1' then return -1 end
  if redis.call('STRLEN', stdin) + #bytes > tonumber(max) then return -2 end
  local length = redis.call('APPEND', stdin, bytes)
  if close == '1' then redis.call('HSET', run, 'stdinClosed', '1') end
  redis.call('PUBLISH', '${channels.input("")}' .. id, '')
  return length
`);

/** The terminal's latest size, for its holder or the next. ARGV: size → {"set" | "over", host or ""} */
const resize = define(`
  local run = unpack(KEYS)
  local held = redis.call('HMGET', run, 'state', 'host')
  if not held[1] or held[1] == 'finished' then return {'over', ''} end
  redis.call('HSET', run, 'terminalSize', ARGV[1])
  return {'set', held[2] or ''}
`);

/** ARGV: id, waiter → 1 if the run is unfinished and the gateway will be told, else 0 */
const watch = define(`
  local run, waiters = unpack(KEYS)
  local state = redis.call('HGET', run, 'state')
  if not state or state == 'finished' then return 0 end
  redis.call('SADD', waiters, ARGV[2])
  return 1
`);

/** How far the image of a run that starts has come. ARGV: id, attempt, holder, progress → 1, or 0 if nobody needs to know any more. */
const pulling = define(`
  local run = unpack(KEYS)
  local id, attempt, holder, progress = unpack(ARGV)
  local mine = held(run, attempt, holder)
  if not mine or mine.state ~= 'starting' then return 0 end
  redis.call('HSET', run, 'pulling', progress)
  redis.call('PUBLISH', '${CHANGED}' .. id, '')
  return 1
`);

/**
 * Why a run waits, and for how many others. ARGV: id
 * → {} if it does not wait | {"delayed", due ms} | {"concurrency", place} | {"quota", place, limit} | {"no host"} | {"too large"}
 *   | {"no room", place, starts a second}
 */
const why = define(`
  local run, offers = unpack(KEYS)
  local id, at, p = ARGV[1], now(), placing(run)
  if not p.tenant or not redis.call('ZSCORE', '${keys.queued("")}' .. p.pool, id) then return {} end
  local due = redis.call('ZSCORE', '${keys.delayed}', id)
  if due then return { 'delayed', due } end
  local before = p.key and redis.call('ZRANK', '${keys.gate("")}' .. p.tenant .. ':' .. p.key, id)
  if before then return { 'concurrency', before + 1 } end
  local place = (redis.call('ZRANK', '${keys.line("")}' .. p.line, id) or 0) + 1
  local limit = over_quota(p)
  if limit then return { 'quota', place, limit } end
  local could, any = could_ever_fit(offers, at, p)
  if not any then return { 'no host' } end
  if not could then return { 'too large' } end
  local ahead, mine = place, limits(p).weight
  for _, tenant in ipairs(redis.call('SMEMBERS', '${keys.lines("")}' .. p.pool)) do
    local theirs = redis.call('ZCARD', '${keys.line("")}' .. p.pool .. ':' .. tenant)
    if tenant ~= p.tenant then ahead = ahead + math.min(theirs, math.ceil((place - 1) * limits_of(tenant).weight / mine)) end
  end
  return { 'no room', ahead, tostring(pace_of(p.pool, at)) }
`);

export const recordScripts = { append, feed, resize, watch, pulling, why } as const;
