// Every change of a run's state, as Lua that Redis runs atomically. Nothing else writes a record's state.
//
//       ┌─────── submit, if a host offers room ───┐
//       │     submit            claim             ▼  started             finish
//   (nothing) ──────▶ queued ──────────▶ starting ─────────▶ running ─────────▶ finished
//                       ▲  └─ cancel, overdue ─────────────────────────────────────▲
//                       └──────── overdue (attempt + 1) ──┴───────────┘
//
// One idea: whoever acts on a run names the attempt it believes in, and the holder that it is (one life of one worker). A
// script that finds another attempt or holder, or a state that has no such move, changes nothing and says so. So a host that was
// thought dead and comes back is harmless, even when a Redis that failed over has forgotten that it ever had the run.
//
// Time is always Redis' own (`TIME`), so the clocks of hosts may be wrong by minutes.

import { channels } from "./keys.ts";
import { recordScripts } from "./record-scripts.ts";
import { define, type Transition } from "./transition-parts.ts";

type Argument = string | number | Buffer;

/** What is needed of a Redis client. */
export interface ScriptClient {
  evalsha(sha1: string, keyCount: number, ...args: Argument[]): Promise<unknown>;
  eval(lua: string, keyCount: number, ...args: Argument[]): Promise<unknown>;
}

/** Runs a script atomically. A Redis that has restarted does not know it yet, and is told. */
export async function runTransition(
  client: ScriptClient,
  { lua, sha1 }: Transition,
  names: readonly string[],
  args: readonly Argument[],
): Promise<unknown> {
  try {
    return await client.evalsha(sha1, names.length, ...names, ...args);
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith("NOSCRIPT")) throw error;
    return client.eval(lua, names.length, ...names, ...args);
  }
}

/** How long a worker's hold on a run lasts without renewal. A dead host's runs move on after this. */
export const LEASE_MS = 10_000;
/** How often the hold is renewed: two renewals may be lost before it passes. */
export const RENEW_MS = 3_000;
/** The sandbox's own deadline ends this much before the lease, so that it is dead before another host may start the run. */
export const FENCE_MARGIN_MS = 2_000;
/** A run that never started may be moved this often before it is called lost. */
export const MAX_MOVES = 5;

const CHANGED = channels.changed("");

/**
 * Where nobody waits, a run that fits what some host offers is handed to it at once. `how` is "hand over", which writes nothing
 * where that cannot be, "either", or "queue".
 * ARGV: how, id, max queued, queue ms, waiter or "", kept runs, stdin or "", cpus, memory, pids, lease ms, then field, value …
 * → "handed" | "queued" | "full" | "no room"
 */
const submit = define(`
  local run, waiters, deadlines, queued, index, stdin, offers = unpack(KEYS)
  local how, id, max, queueMs, waiter, kept, input, cpus, memoryBytes, pids, lease = unpack(ARGV)
  local known = redis.call('HGET', run, 'state')
  if known then return known == 'queued' and 'queued' or 'handed' end
  local at, waiting = now(), redis.call('ZCARD', queued)
  local offer, holder
  if waiting == 0 and how ~= 'queue' then offer, holder = roomiest(offers, at, tonumber(cpus), tonumber(memoryBytes), tonumber(pids)) end
  if not offer and how == 'hand over' then return 'no room' end
  if not offer and waiting >= tonumber(max) then return 'full' end

  local fields = { 'id', id, 'attempt', 1, 'createdAt', at, 'queuedAt', at, unpack(ARGV, 12) }
  local state = offer and { 'state', 'starting', 'host', offer.host, 'holder', holder, 'claimedAt', at } or { 'state', 'queued' }
  for _, part in ipairs(state) do fields[#fields + 1] = part end
  redis.call('HSET', run, unpack(fields))
  if input ~= '' then redis.call('SET', stdin, input) end
  if waiter ~= '' then redis.call('SADD', waiters, waiter) end
  redis.call('ZADD', index, 0, id)
  redis.call('ZREMRANGEBYRANK', index, 0, -1 - kept)
  if not offer then
    redis.call('ZADD', deadlines, at + queueMs, id)
    redis.call('ZADD', queued, at, id)
    return 'queued'
  end
  redis.call('ZADD', deadlines, at + lease, id)
  give(offer, tonumber(cpus), tonumber(memoryBytes), tonumber(pids))
  offer.given = offer.given + 1
  redis.call('HSET', offers, holder, cjson.encode(offer))
  redis.call('PUBLISH', '${channels.handed("")}' .. holder, cjson.encode({ offer.series, offer.given, fields }))
  return 'handed'
`);

/** What a host has room for from now on. ARGV: holder, room, series, seen → how many runs it was given in this series */
const offer = define(`
  local offer = offer_of(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], now())
  post(KEYS[1], ARGV[1], offer)
  return offer.given
`);

/** ARGV: holder, series → how many runs it was given in this series, or 0 */
const withdraw = define(`
  local text = redis.call('HGET', KEYS[1], ARGV[1])
  redis.call('HDEL', KEYS[1], ARGV[1])
  local last = text and cjson.decode(text)
  return last and last.series == tonumber(ARGV[2]) and last.given or 0
`);

/**
 * Asked twice (a command whose answer was lost is sent again), it answers the same. The room that the host has left with the run
 * is set in the same step; none ("") leaves it as it is.
 * ARGV: id, attempt, holder, host, lease ms, room or "", series, seen
 * → the whole record, flat; empty if this attempt is not to be had; {"busy"} if the room was given away meanwhile
 */
const claim = define(`
  local run, deadlines, offers = unpack(KEYS)
  local id, attempt, holder, host, lease, room, series, seen = unpack(ARGV)
  local mine = held(run, attempt, holder)
  if mine and mine.state == 'starting' then return redis.call('HGETALL', run) end
  local waiting = redis.call('HMGET', run, 'state', 'attempt')
  if waiting[1] ~= 'queued' or waiting[2] ~= attempt then return {} end
  local at = now()
  if tonumber(redis.call('ZSCORE', deadlines, id) or 0) <= at then return {} end
  if room ~= '' then
    local offer = offer_of(offers, holder, room, series, seen, at)
    if not fits(offer, 0, 0, 0, 0) then return { 'busy' } end
    post(offers, holder, offer)
  end
  redis.call('HSET', run, 'state', 'starting', 'host', host, 'holder', holder, 'claimedAt', at)
  redis.call('ZADD', deadlines, at + lease, id)
  redis.call('ZREM', queue_of(run), id)
  redis.call('PUBLISH', '${CHANGED}' .. id, '')
  return redis.call('HGETALL', run)
`);

/** Asked twice, it answers the same. ARGV: id, attempt, holder, lease ms → 1, or 0 if the attempt is over. */
const started = define(`
  local run, deadlines = unpack(KEYS)
  local id, attempt, holder, lease = unpack(ARGV)
  local mine = held(run, attempt, holder)
  if not mine then return 0 end
  if mine.state == 'running' then return 1 end
  local at = now()
  redis.call('HSET', run, 'state', 'running', 'startedAt', at)
  redis.call('HINCRBY', run, 'startedAttempts', 1)
  redis.call('HDEL', run, 'pulling')
  redis.call('ZADD', deadlines, at + lease, id)
  redis.call('PUBLISH', '${CHANGED}' .. id, '')
  return 1
`);

/** ARGV: id, attempt, holder, lease ms → "held" | "cancel" | "lost" */
const renew = define(`
  local run, deadlines = unpack(KEYS)
  local id, attempt, holder, lease = unpack(ARGV)
  local mine = held(run, attempt, holder)
  if not mine then return 'lost' end
  redis.call('ZADD', deadlines, now() + lease, id)
  return mine.cancel and 'cancel' or 'held'
`);

/** The holder lets go of a run that it did not bring to an end: it is overdue at once. ARGV: id, attempt, holder, why → 1 | 0 */
const release = define(`
  local run, deadlines = unpack(KEYS)
  local id, attempt, holder, why = unpack(ARGV)
  if not held(run, attempt, holder) then return 0 end
  redis.call('HSET', run, 'givenUp', why)
  redis.call('ZADD', deadlines, 0, id)
  return 1
`);

/** ARGV: id, attempt, holder, outcome, receipt, stdout facts, stderr facts, retention ms → 1, or 0 if the attempt is over. */
const finish = define(`
  local run, waiters, deadlines = unpack(KEYS)
  local id, attempt, holder, outcome, receipt, stdout, stderr, retention = unpack(ARGV)
  if not held(run, attempt, holder) then return 0 end
  redis.call('HSET', run, 'receipt', receipt, 'stdout', stdout, 'stderr', stderr)
  finish(run, waiters, deadlines, id, now(), outcome, retention)
  return 1
`);

/** ARGV: id, outcome, retention ms → {"finished" | "requested" | "over" | "missing", host or ""} */
const cancel = define(`
  local run, waiters, deadlines = unpack(KEYS)
  local id, outcome, retention = unpack(ARGV)
  local held = redis.call('HMGET', run, 'state', 'host')
  if not held[1] then return {'missing', ''} end
  if held[1] == 'finished' then return {'over', ''} end
  if held[1] == 'queued' then
    redis.call('ZREM', queue_of(run), id)
    finish(run, waiters, deadlines, id, now(), outcome, retention)
    return {'finished', ''}
  end
  redis.call('HSET', run, 'cancelRequested', '1')
  return {'requested', held[2]}
`);

/**
 * A state has lasted too long: the queue clock is over, or a host no longer renews its hold.
 * ARGV: id, queue outcome, lost outcome, cancelled outcome, retries, queue ms, retention ms
 * → {"not yet"} | {"finished"} | {"requeued", next attempt}
 */
const overdue = define(`
  local run, waiters, deadlines, stdout, stderr = unpack(KEYS)
  local id, queueOutcome, lostOutcome, cancelledOutcome, retries, queueMs, retention = unpack(ARGV)
  local at = now()
  local due = redis.call('ZSCORE', deadlines, id)
  if not due or tonumber(due) > at then return {'not yet'} end
  local held = redis.call('HMGET', run, 'state', 'attempt', 'startedAttempts', 'cancelRequested')
  if not held[1] or held[1] == 'finished' then
    redis.call('ZREM', deadlines, id)
    return {'not yet'}
  end
  local outcome = lostOutcome
  if held[1] == 'queued' then
    redis.call('ZREM', queue_of(run), id)
    outcome = queueOutcome
  elseif held[4] == '1' then
    outcome = cancelledOutcome
  else
    local startedAttempts = tonumber(held[3] or 0)
    local hadStarted = held[1] == 'running'
    local moves = tonumber(held[2]) - startedAttempts
    if (hadStarted and startedAttempts <= tonumber(retries)) or (not hadStarted and moves <= ${MAX_MOVES}) then
      redis.call('HSET', run, 'state', 'queued', 'attempt', held[2] + 1, 'queuedAt', at)
      redis.call('HDEL', run, 'host', 'holder', 'startedAt', 'givenUp', 'pulling')
      redis.call('DEL', stdout, stderr)
      redis.call('ZADD', deadlines, at + queueMs, id)
      redis.call('ZADD', queue_of(run), at, id)
      redis.call('PUBLISH', '${CHANGED}' .. id, '')
      return {'requeued', held[2] + 1}
    end
  end
  finish(run, waiters, deadlines, id, at, outcome, retention)
  return {'finished'}
`);

export const transitions = {
  submit,
  offer,
  withdraw,
  claim,
  started,
  renew,
  release,
  finish,
  cancel,
  overdue,
  ...recordScripts,
} as const;
