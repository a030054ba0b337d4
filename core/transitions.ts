// Every change of a run's state, as Lua that Redis runs atomically. Nothing else writes a record's state.
//
//       ┌─────── submit, if a host offers room ───┐
//       │     submit        offer, submit, tend   ▼  started             finish
//   (nothing) ──────▶ queued ──────────▶ starting ─────────▶ running ─────────▶ finished
//                       ▲  └─ cancel, overdue ─────────────────────────────────────▲
//                       └── overdue, finish (attempt + 1) ┴───────────┘
//
// One idea: whoever acts on a run names the attempt it believes in, and the holder that it is (one life of one worker). A
// script that finds another attempt or holder, or a state that has no such move, changes nothing and says so. So a host that was
// thought dead and comes back is harmless, even when a Redis that failed over has forgotten that it ever had the run.
//
// Time is always Redis' own (`TIME`), so the clocks of hosts may be wrong by minutes.

import { channels, keys } from "./keys.ts";
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

/** How often the hold is renewed: two renewals may be lost before it passes. */
export const RENEW_MS = 3_000;
/** The sandbox's own deadline ends this much before the lease, so that it is dead before another host may start the run. */
export const FENCE_MARGIN_MS = 2_000;
/** A run that never started may be moved this often before it is called lost. */
export const MAX_MOVES = 5;

const CHANGED = channels.changed("");

/**
 * Where nobody waits, a run that fits what some host offers is given to it at once; else it waits.
 * ARGV: id, tenant, pool, cpus, memory, pids, size, priority, concurrency key or "", its max, due (`+ms` from now, or a moment), queue ms, max queued, kept runs,
 * waiter or "", stdin or "", idempotency key's name or "", digest of the body, its ms, files or "", then field, value …
 * → {"accepted" | "known" | "conflict", id} | {"full"} | {"quota", limit} | {"too large"}
 */
const submit = define(`
  local run, waiters, stdin, offers = unpack(KEYS)
  local id, tenant, pool, cpus, memoryBytes, pids, size, priority, key, keyMax, due, queueMs, max, kept = unpack(ARGV)
  local waiter, input, idempotency, body, remembered, files = unpack(ARGV, 15)
  local at = now()
  if redis.call('EXISTS', run) == 1 then return { 'accepted', id } end -- A command that was sent twice.
  if idempotency ~= '' then
    local digest, known = string.match(redis.call('GET', idempotency) or '', '^(%S+) (%S+)$')
    if known then return { digest == body and 'known' or 'conflict', known } end
  end
  local p = { tenant = tenant, pool = pool, cpus = tonumber(cpus), memoryBytes = tonumber(memoryBytes), pids = tonumber(pids) }
  p.size, p.priority, p.key, p.keyMax = tonumber(size), tonumber(priority), key ~= '' and key or nil, tonumber(keyMax)
  p.line, p.dueAt = pool .. ':' .. tenant, string.sub(due, 1, 1) == '+' and at + due or tonumber(due)
  local never = over_quota(p, true)
  if never then return { 'quota', never } end
  local isLine, holder, offer = redis.call('EXISTS', '${keys.lines("")}' .. pool) == 1
  if not isLine and p.dueAt <= at and not over_quota(p) then holder, offer = roomiest(offers, at, p) end
  if holder and not pass_gate(p) then holder = nil end
  if not holder then
    if redis.call('ZCARD', '${keys.queued("")}' .. pool) >= tonumber(max) then return { 'full' } end
    local queued = p.may.queued and tonumber(redis.call('HGET', '${keys.use("")}' .. tenant, 'queued') or 0)
    if queued and queued >= p.may.queued then return { 'quota', 'queued' } end
    if not could_ever_fit(offers, at, p) then return { 'too large' } end
  end

  local fields = { 'id', id, 'state', holder and 'starting' or 'queued', 'tenant', tenant, 'pool', pool, 'cpus', cpus, 'memoryBytes', memoryBytes,
    'pids', pids, 'size', size, 'attempt', 1, 'createdAt', at, 'queuedAt', at, unpack(ARGV, 21) }
  local function also(name, value) fields[#fields + 1], fields[#fields + 2] = name, value end
  if p.priority > 0 then also('priority', priority) end
  if p.key then also('key', key) also('keyMax', keyMax) end
  if p.dueAt > at then also('dueAt', p.dueAt) end
  if holder then also('host', offer.host) also('holder', holder) also('claimedAt', at) end
  redis.call('HSET', run, unpack(fields))
  if input ~= '' then redis.call('SET', stdin, input) end
  if files ~= '' then redis.call('SET', run .. ':files', files) end
  if waiter ~= '' then redis.call('SADD', waiters, waiter) end
  if idempotency ~= '' then redis.call('SET', idempotency, body .. ' ' .. id, 'PX', remembered) end
  file(id, tenant, nil, holder and 'starting' or 'queued')
  for i = 5, #KEYS do redis.call('ZADD', KEYS[i], 0, id) end
  if forget_surplus(tenant, kept) == 1 then redis.call('ZADD', '${keys.filed}', 0, tenant) end
  if holder then
    hand_over(id, p, holder, offer, at, fields)
    post(offers, holder, offer)
    return { 'accepted', id }
  end
  redis.call('ZADD', '${keys.deadlines}', math.max(at, p.dueAt) + queueMs, id)
  enqueue(id, p, at)
  -- Those who wait may be waiting for something else than the room that there is; and a host may have more room than it has told.
  if isLine then serve_some(pool, offers, at) end
  if redis.call('ZSCORE', '${keys.line("")}' .. p.line, id) then redis.call('PUBLISH', '${channels.waits("")}' .. pool, '') end
  return { 'accepted', id }
`);

/**
 * What a host has room for from now on. Those who wait are given it at once.
 * ARGV: holder, room, series, seen, pool → {how many runs it was given in this series, of how many tenants runs wait for room}
 */
const offer = define(`
  local holder, room, series, seen, pool = unpack(ARGV)
  local at = now()
  local offer = offer_of(KEYS[1], holder, room, series, seen, at)
  serve(pool, holder, offer, at)
  post(KEYS[1], holder, offer)
  return { offer.given, redis.call('SCARD', '${keys.lines("")}' .. pool) }
`);

/** ARGV: holder, series → how many runs it was given in this series, or 0 */
const withdraw = define(`
  local text = redis.call('HGET', KEYS[1], ARGV[1])
  redis.call('HDEL', KEYS[1], ARGV[1])
  local last = text and cjson.decode(text)
  return last and last.series == tonumber(ARGV[2]) and last.given or 0
`);

/**
 * What is due comes into line, and what could be given is: for what nobody else has seen to. ARGV: pool, how many at most
 * → in how many ms the next run is due, or -1
 */
const tend = define(`
  local pool, most = unpack(ARGV)
  local at = now()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', '${keys.delayed}', '-inf', at, 'LIMIT', 0, most)) do
    redis.call('ZREM', '${keys.delayed}', id)
    come_in(id, at)
  end
  serve_some(pool, KEYS[1], at)
  local due = redis.call('ZRANGE', '${keys.delayed}', 0, 0, 'WITHSCORES')[2]
  return due and math.max(0, math.ceil(due - at)) or -1
`);

/** The whole record, flat, of a run that was given to this holder and whose program has not started; else empty. ARGV: id, attempt, holder */
const recall = define(`
  local mine = held(KEYS[1], ARGV[2], ARGV[3])
  return mine and mine.state == 'starting' and redis.call('HGETALL', KEYS[1]) or {}
`);

/** Asked twice, it answers the same. ARGV: id, attempt, holder, lease ms → 1, or 0 if the attempt is over. */
const started = define(`
  local run, deadlines = unpack(KEYS)
  local id, attempt, holder, lease = unpack(ARGV)
  local mine = held(run, attempt, holder)
  if not mine then return 0 end
  if mine.state == 'running' then return 1 end
  local at = now()
  redis.call('HSET', run, 'state', 'running', 'startedAt', at, 'startedAttempts', mine.started_attempts + 1)
  file(id, mine.tenant, 'starting', 'running')
  if mine.pulling then redis.call('HDEL', run, 'pulling') end
  redis.call('ZADD', deadlines, at + lease, id)
  redis.call('PUBLISH', '${CHANGED}' .. id, '')
  return 1
`);

/** ARGV: id, attempt, holder, lease ms → "held" | "cancel" | "force-cancel" | "lost" */
const renew = define(`
  local run, deadlines = unpack(KEYS)
  local id, attempt, holder, lease = unpack(ARGV)
  local mine = held(run, attempt, holder)
  if not mine then return 'lost' end
  redis.call('ZADD', deadlines, now() + lease, id)
  return mine.forced and 'force-cancel' or mine.cancel and 'cancel' or 'held'
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

/**
 * ARGV: id, attempt, holder, outcome, receipt, "1" if the program had started, stdout facts or "", stderr facts or "", retention ms
 * → 1, or 0 if the attempt is over.
 */
const finish = define(`
  local run = unpack(KEYS)
  local id, attempt, holder, outcome, receipt, ran, stdout, stderr, retention = unpack(ARGV)
  local mine = held(run, attempt, holder)
  if not mine then return 0 end
  local at, p = now(), placing(run)
  if ran == '1' then note_start(run, mine, at) end
  leave(p, at)
  local facts = { 'receipt', receipt }
  if stdout ~= '' then facts[3], facts[4] = 'stdout', stdout end
  if stderr ~= '' then facts[#facts + 1], facts[#facts + 2] = 'stderr', stderr end
  finish(id, p, at, { outcome = outcome, retention = retention, facts = facts })
  return 1
`);

/**
 * The attempt has ended, and the run goes back to wait for its next one until a back-off is over; unless it is to be cancelled.
 * ARGV: id, attempt, holder, outcome, receipt, "1" if the program had started, back-off ms, queue ms → 1, 2 if it is to be finished instead, or 0 if the attempt is over.
 */
const again = define(`
  local run = unpack(KEYS)
  local id, attempt, holder, outcome, receipt, ran, backoff, queueMs = unpack(ARGV)
  local mine = held(run, attempt, holder)
  if not mine then return 0 end
  if mine.cancel then return 2 end
  local at, p = now(), placing(run)
  if ran == '1' then note_start(run, mine, at) end
  leave(p, at)
  requeue(run, id, p, at, { because = 'retried', outcome = outcome, receipt = receipt, delay = tonumber(backoff), queueMs = queueMs })
  return 1
`);

/** ARGV: id, outcome, retention ms, "1" if without a grace → {"finished" | "requested" | "over" | "missing", host or ""} */
const cancel = define(`
  local run = unpack(KEYS)
  local id, outcome, retention, forced = unpack(ARGV)
  local held = redis.call('HMGET', run, 'state', 'host')
  if not held[1] then return {'missing', ''} end
  if held[1] == 'finished' then return {'over', ''} end
  if held[1] == 'queued' then
    local at, p = now(), placing(run)
    give_up_place(id, p, at)
    finish(id, p, at, { outcome = outcome, retention = retention })
    return {'finished', ''}
  end
  redis.call('HSET', run, 'cancelRequested', '1')
  if forced == '1' then redis.call('HSET', run, 'forced', '1') end
  return {'requested', held[2]}
`);

/**
 * A state has lasted too long: the queue clock is over, or a host no longer renews its hold.
 * ARGV: id, attempt that was read or "", queue outcome, lost outcome, cancelled outcome, retries, back-off ms if it is tried again after
 * being lost or "", queue ms, retention ms → {"not yet"} | {"finished"} | {"requeued", next attempt}
 */
const overdue = define(`
  local run, _, deadlines = unpack(KEYS)
  local id, attempt, queueOutcome, lostOutcome, cancelledOutcome, retries, backoff, queueMs, retention = unpack(ARGV)
  local at = now()
  local due = redis.call('ZSCORE', deadlines, id)
  if not due or tonumber(due) > at then return {'not yet'} end
  local held = redis.call('HMGET', run, 'state', 'attempt', 'lost', 'retried', 'cancelRequested')
  if not held[1] or held[1] == 'finished' then
    redis.call('ZREM', deadlines, id)
    return {'not yet'}
  end
  if attempt ~= '' and held[2] ~= attempt then return {'not yet'} end
  local p = placing(run)
  if held[1] == 'queued' then
    give_up_place(id, p, at)
    finish(id, p, at, { outcome = queueOutcome, retention = retention })
    return {'finished'}
  end
  leave(p, at)
  local lost, retried = tonumber(held[3] or 0), tonumber(held[4] or 0)
  local because
  if held[1] == 'running' and lost < tonumber(retries) then because = 'lost'
  elseif held[1] == 'starting' and held[2] - 1 - lost - retried < ${MAX_MOVES} then because = 'moved'
  elseif backoff ~= '' then because = 'retried' end
  if held[5] == '1' or not because then
    finish(id, p, at, { outcome = held[5] == '1' and cancelledOutcome or lostOutcome, retention = retention })
    return {'finished'}
  end
  local delay = because == 'retried' and tonumber(backoff) or 0
  return { 'requeued', requeue(run, id, p, at, { because = because, outcome = lostOutcome, delay = delay, queueMs = queueMs }) }
`);

export const transitions = {
  submit,
  offer,
  withdraw,
  tend,
  recall,
  started,
  renew,
  release,
  finish,
  again,
  cancel,
  overdue,
  ...recordScripts,
} as const;
