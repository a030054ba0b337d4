// Every change of a run's state, as Lua that Redis runs atomically. Nothing else writes a record's state.
//
//             submit            claim              started             finish
//   (nothing) ──────▶ queued ──────────▶ starting ─────────▶ running ─────────▶ finished
//                       ▲  └─ cancel, overdue ─────────────────────────────────────▲
//                       └──────── overdue (attempt + 1) ──┴───────────┘
//
// One idea: whoever acts on a run names the attempt it believes in, and the holder that it is (one life of one worker). A
// script that finds another attempt or holder, or a state that has no such move, changes nothing and says so. So a host that was
// thought dead and comes back is harmless, even when a Redis that failed over has forgotten that it ever had the run.
//
// Time is always Redis' own (`TIME`), so the clocks of hosts may be wrong by minutes.

import { createHash } from "node:crypto";
import { channels } from "./keys.ts";

/** A script. Its keys are built by `transitionKeys`; callers pass ARGV in the order that the comment above it gives. */
export interface Transition {
  readonly lua: string;
  /** By which Redis knows a script that it has seen. */
  readonly sha1: string;
}

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
local function finish(run, waiters, deadlines, queued, id, at, outcome, retention, gateway, changed)
  redis.call('HSET', run, 'state', 'finished', 'finishedAt', at, 'outcome', outcome, 'stdinClosed', '1')
  redis.call('ZREM', deadlines, id)
  redis.call('ZREM', queued, id)
  redis.call('DEL', run .. ':stdin')
  for _, suffix in ipairs({'', ':stdout', ':stderr'}) do
    redis.call('PEXPIRE', run .. suffix, retention)
  end
  for _, waiter in ipairs(redis.call('SMEMBERS', waiters)) do
    redis.call('PUBLISH', gateway .. waiter, id)
  end
  redis.call('DEL', waiters)
  redis.call('PUBLISH', changed .. id, '')
end
`;

// The scripts below publish to channels whose names they build from these prefixes.
const GATEWAY = channels.gateway("");
const CHANGED = channels.changed("");
const INPUT = channels.input("");
const FINISH_ARGS = `'${GATEWAY}', '${CHANGED}'`;

/** ARGV: id, max queued, queue ms, waiter or "", kept runs, stdin or "", then field, value … → "ok" | "full" */
const submit = define(`
  local run, waiters, deadlines, queued, index, stdin = unpack(KEYS)
  local id, max, queueMs, waiter, kept, input = unpack(ARGV)
  if redis.call('EXISTS', run) == 1 then return 'ok' end
  if redis.call('ZCARD', queued) >= tonumber(max) then return 'full' end
  local at = now()
  redis.call('HSET', run, 'id', id, 'state', 'queued', 'attempt', 1, 'createdAt', at, 'queuedAt', at)
  for i = 7, #ARGV, 2 do redis.call('HSET', run, ARGV[i], ARGV[i + 1]) end
  if input ~= '' then redis.call('SET', stdin, input) end
  if waiter ~= '' then redis.call('SADD', waiters, waiter) end
  redis.call('ZADD', deadlines, at + queueMs, id)
  redis.call('ZADD', queued, at, id)
  redis.call('ZADD', index, 0, id)
  redis.call('ZREMRANGEBYRANK', index, 0, -1 - kept)
  return 'ok'
`);

/**
 * Asked twice (a command whose answer was lost is sent again), it answers the same.
 * ARGV: id, attempt, holder, host, lease ms → the whole record, flat, or empty if this attempt is not to be had.
 */
const claim = define(`
  local run, deadlines, queued = unpack(KEYS)
  local id, attempt, holder, host, lease = unpack(ARGV)
  local mine = held(run, attempt, holder)
  if mine and mine.state == 'starting' then return redis.call('HGETALL', run) end
  local waiting = redis.call('HMGET', run, 'state', 'attempt')
  if waiting[1] ~= 'queued' or waiting[2] ~= attempt then return {} end
  local at = now()
  if tonumber(redis.call('ZSCORE', deadlines, id) or 0) <= at then return {} end
  redis.call('HSET', run, 'state', 'starting', 'host', host, 'holder', holder, 'claimedAt', at)
  redis.call('ZADD', deadlines, at + lease, id)
  redis.call('ZREM', queued, id)
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
  local run, waiters, deadlines, queued = unpack(KEYS)
  local id, attempt, holder, outcome, receipt, stdout, stderr, retention = unpack(ARGV)
  if not held(run, attempt, holder) then return 0 end
  redis.call('HSET', run, 'receipt', receipt, 'stdout', stdout, 'stderr', stderr)
  finish(run, waiters, deadlines, queued, id, now(), outcome, retention, ${FINISH_ARGS})
  return 1
`);

/** ARGV: id, outcome, retention ms → {"finished" | "requested" | "over" | "missing", host or ""} */
const cancel = define(`
  local run, waiters, deadlines, queued = unpack(KEYS)
  local id, outcome, retention = unpack(ARGV)
  local held = redis.call('HMGET', run, 'state', 'host')
  if not held[1] then return {'missing', ''} end
  if held[1] == 'finished' then return {'over', ''} end
  if held[1] == 'queued' then
    finish(run, waiters, deadlines, queued, id, now(), outcome, retention, ${FINISH_ARGS})
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
  local run, waiters, deadlines, queued, stdout, stderr = unpack(KEYS)
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
    outcome = queueOutcome
  elseif held[4] == '1' then
    outcome = cancelledOutcome
  else
    local startedAttempts = tonumber(held[3] or 0)
    local hadStarted = held[1] == 'running'
    local moves = tonumber(held[2]) - startedAttempts
    if (hadStarted and startedAttempts <= tonumber(retries)) or (not hadStarted and moves <= ${MAX_MOVES}) then
      redis.call('HSET', run, 'state', 'queued', 'attempt', held[2] + 1, 'queuedAt', at)
      redis.call('HDEL', run, 'host', 'holder', 'startedAt', 'givenUp')
      redis.call('DEL', stdout, stderr)
      redis.call('ZADD', deadlines, at + queueMs, id)
      redis.call('ZADD', queued, at, id)
      redis.call('PUBLISH', '${CHANGED}' .. id, '')
      return {'requeued', held[2] + 1}
    end
  end
  finish(run, waiters, deadlines, queued, id, at, outcome, retention, ${FINISH_ARGS})
  return {'finished'}
`);

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
  redis.call('PUBLISH', '${INPUT}' .. id, '')
  return length
`);

/** The terminal's latest size, for whoever holds the run or will. ARGV: size → {"set" | "over", host or ""} */
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

export const transitions = {
  submit,
  claim,
  started,
  renew,
  release,
  finish,
  cancel,
  overdue,
  append,
  feed,
  resize,
  watch,
} as const;

function define(body: string): Transition {
  const lua = PRELUDE + body;
  return { lua, sha1: createHash("sha1").update(lua).digest("hex") };
}
