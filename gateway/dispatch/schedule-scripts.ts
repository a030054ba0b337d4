// What is written of schedules, as Lua that Redis runs atomically.

import { define } from "../../core/transition-parts.ts";

/** ARGV: member of the list, limit of the tenant, limit of all, field, value … → "made" | "exists" | "full" */
const make = define(`
  local schedule, list = unpack(KEYS)
  local member, ofTenant, all = unpack(ARGV)
  if redis.call('EXISTS', schedule) == 1 then return 'exists' end
  local tenant = string.match(member, '^%S+')
  if redis.call('ZCARD', list) >= tonumber(all) then return 'full' end
  if redis.call('ZLEXCOUNT', list, '[' .. tenant .. ' ', '(' .. tenant .. '!') >= tonumber(ofTenant) then return 'full' end
  redis.call('HSET', schedule, 'createdAt', now(), unpack(ARGV, 4))
  redis.call('ZADD', list, 0, member)
  return 'made'
`);

/** Writes to a schedule that is there, and still is the one that is meant. ARGV: id or "", fields to take away with commas between, field, value … → 1 | 0 */
const change = define(`
  local schedule, id, away = KEYS[1], ARGV[1], ARGV[2]
  local is = redis.call('HGET', schedule, 'id')
  if not is or (id ~= '' and id ~= is) then return 0 end
  for field in string.gmatch(away, '[^,]+') do redis.call('HDEL', schedule, field) end
  if #ARGV > 2 then redis.call('HSET', schedule, unpack(ARGV, 3)) end
  return 1
`);

/** ARGV: member of the list → the id of what was removed, or "" */
const remove = define(`
  local schedule, list = unpack(KEYS)
  local id = redis.call('HGET', schedule, 'id')
  redis.call('DEL', schedule)
  redis.call('ZREM', list, ARGV[1])
  return id or ''
`);

export const scheduleScripts = { make, change, remove } as const;
