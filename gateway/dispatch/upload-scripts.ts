// What is written of uploads, as Lua that Redis runs atomically.
//
//   add … add ─▶ commit ─▶ (pin, pin …) ─▶ remove, or its time is over ─▶ gone once no run that named it needs it
//
// One idea: whoever names an upload is written down beside it, and nothing has to be undone when a run ends: when an upload is to go, it is looked
// whether those who named it still live. So a run without one costs nothing more, and a gateway that dies leaves nothing behind.

import { DEAD_LETTERS } from "../../core/index-parts.ts";
import { keys } from "../../core/keys.ts";
import { define } from "../../core/transition-parts.ts";

/** Of an upload whose sender says nothing more, nothing is left after this: longer than a connection may be silent. */
const COMING_MS = 600_000;
/** How often it is looked whether an upload that is to go is still needed. */
const LOOK_MS = 10_000;
/** A run that is not there although it has named an upload is being made; so long after it was not made. */
const MAKING_MS = 60_000;
/** How many that have ended are taken off the list when one comes onto it: more than one, so that the list stays short. */
const LOOKED_AT = 4;
/** Of one sweep: Redis does nothing else meanwhile. */
const SWEPT = 100;

const PARTS = `
local at = now()
local function name_of(id) return '${keys.upload("")}' .. id end
-- A batch keeps what its items name until it is over. A run that has failed for good and may be tried again keeps it as it keeps its files.
local function lives(user, since, tenant)
  if string.sub(user, 1, 4) == 'bat_' then
    local held = redis.call('HMGET', '${keys.batch("")}' .. user, 'tenant', 'state')
    return held[1] and not held[2]
  end
  local state = redis.call('HGET', '${keys.run("")}' .. user, 'state')
  if not state then return at - since < ${MAKING_MS} end
  return state ~= 'finished' or redis.call('ZSCORE', facet(tenant, '${DEAD_LETTERS}'), user) ~= false
end
local function drop(tenant, id)
  local upload = name_of(id)
  redis.call('UNLINK', upload, upload .. ':pieces', upload .. ':users')
  redis.call('HDEL', '${keys.uploadsOf("")}' .. tenant, id)
  redis.call('ZREM', '${keys.uploadsDue}', tenant .. ' ' .. id)
end
-- It is over: gone, or kept for those who named it before.
local function let_go(tenant, id)
  local users = name_of(id) .. ':users'
  local named = redis.call('ZRANGE', users, 0, ${SWEPT - 1}, 'WITHSCORES')
  for i = 1, #named, 2 do
    if lives(named[i], tonumber(named[i + 1]), tenant) then
      return redis.call('ZADD', '${keys.uploadsDue}', at + ${LOOK_MS}, tenant .. ' ' .. id)
    end
    redis.call('ZREM', users, named[i])
  end
  if redis.call('EXISTS', users) == 0 then drop(tenant, id) else redis.call('ZADD', '${keys.uploadsDue}', at, tenant .. ' ' .. id) end
end
-- What is told of an upload that may be named: nothing of one that still comes in, is over, or is another's.
local function facts_of(id, tenant)
  local held = redis.call('HMGET', name_of(id), 'tenant', 'bytes', 'entries', 'createdAt', 'expiresAt')
  if held[1] ~= tenant or not held[5] or tonumber(held[5]) <= at then return nil end
  return { id, held[2], held[3], held[4], held[5] }
end
`;

/** One more piece. ARGV: id, tenant, piece, how many there were before, uploads of a tenant, their bytes → "ok" | "many" | "full" | "gone" */
const add = define(`${PARTS}
  local upload, pieces, of, due = unpack(KEYS)
  local id, tenant, piece, before, most, max = unpack(ARGV)
  if redis.call('LLEN', pieces) ~= tonumber(before) then return 'gone' end
  if before == '0' and redis.call('HLEN', of) >= tonumber(most) then return 'many' end
  local total = #piece
  for _, bytes in ipairs(redis.call('HVALS', of)) do total = total + bytes end
  if total > tonumber(max) then return 'full' end
  redis.call('HINCRBY', of, id, #piece)
  redis.call('HSET', upload, 'tenant', tenant)
  redis.call('RPUSH', pieces, piece)
  redis.call('PEXPIRE', upload, ${COMING_MS})
  redis.call('PEXPIRE', pieces, ${COMING_MS})
  redis.call('ZADD', due, at + ${COMING_MS}, tenant .. ' ' .. id)
  return 'ok'
`);

/** All of it is there. ARGV: id, tenant, bytes, entries, how many pieces, life ms → what is told of it, or {} if it has gone meanwhile */
const commit = define(`${PARTS}
  local upload, pieces, due = unpack(KEYS)
  local id, tenant, bytes, entries, count, life = unpack(ARGV)
  if redis.call('LLEN', pieces) ~= tonumber(count) then return {} end
  redis.call('HSET', upload, 'bytes', bytes, 'entries', entries, 'createdAt', at, 'expiresAt', at + life)
  redis.call('PERSIST', upload)
  redis.call('PERSIST', pieces)
  redis.call('ZADD', due, at + life, tenant .. ' ' .. id)
  return facts_of(id, tenant)
`);

/** ARGV: id, tenant */
const abandon = define(`${PARTS}
  drop(ARGV[2], ARGV[1])
`);

/** ARGV: tenant, ids → what is told of each that is there */
const look = define(`${PARTS}
  local found = {}
  for i = 2, #ARGV do found[#found + 1] = facts_of(ARGV[i], ARGV[1]) end
  return found
`);

/** No run may name it from now on. ARGV: id, tenant → 1 | 0 if there is none */
const remove = define(`${PARTS}
  local id, tenant = unpack(ARGV)
  if not facts_of(id, tenant) then return 0 end
  redis.call('HSET', KEYS[1], 'expiresAt', at)
  let_go(tenant, id)
  return 1
`);

/** ARGV: id, tenant, the run or batch that names it, a run that it is another try of or "" → 1 | 0 if there is none */
const pin = define(`${PARTS}
  local upload, users = unpack(KEYS)
  local id, tenant, user, heir = unpack(ARGV)
  local mine = redis.call('HMGET', upload, 'tenant', 'expiresAt')
  local is_kept = heir ~= '' and mine[1] == tenant and mine[2] and redis.call('ZSCORE', users, heir)
  if not is_kept and not facts_of(id, tenant) then return 0 end
  local named = redis.call('ZRANDMEMBER', users, ${LOOKED_AT}, 'WITHSCORES')
  for i = 1, #named, 2 do
    if not lives(named[i], tonumber(named[i + 1]), tenant) then redis.call('ZREM', users, named[i]) end
  end
  redis.call('ZADD', users, 'NX', at, user)
  return 1
`);

/** Those whose time is over, or whose sender has gone. → how many there were */
const sweep = define(`${PARTS}
  local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', at, 'LIMIT', 0, ${SWEPT})
  for _, member in ipairs(due) do
    local tenant, id = string.match(member, '^(%S+) (%S+)$')
    if redis.call('HGET', name_of(id), 'expiresAt') then let_go(tenant, id) else drop(tenant, id) end
  end
  return #due
`);

export const uploadScripts = { add, commit, abandon, look, remove, pin, sweep } as const;
