// By what runs are found: sorted sets of their ids, as Lua functions that stand before the scripts of transitions.ts.
//
// One idea: a set a facet. Of a tenant there is one for each state, for each image as it was asked for, for each label with its value, and one
// of dead letters; all members have score 0, so that a set is in the order of ids, which is that of creation. A run is in exactly one
// set of states, and moves with its record in the same script; it is in the others from its acceptance until it is forgotten.
// What is looked for by several facets is found by walking the smallest of their sets (gateway/dispatch/list-scripts.ts).

import { keys } from "./keys.ts";
import type { RunRequest } from "./request.ts";

const FACETS = keys.facet("");

/** The sets that a run is in for good, whatever its state. */
export function facetsOf(tenant: string, { image, labels = {} }: Pick<RunRequest, "image" | "labels">): string[] {
  const named = Object.entries(labels).map(([name, value]) => labelFacet(name, value));
  return [imageFacet(image), ...named].map((facet) => keys.facet(`${tenant}:${facet}`));
}

export const stateFacet = (state: string): string => `state:${state}`;
export const imageFacet = (image: string): string => `image:${image}`;
/** A name may have any character, `=` too: its length says where it ends. */
export const labelFacet = (name: string, value: string): string => `label:${Buffer.byteLength(name)}:${name}=${value}`;
export const DEAD_LETTERS = "dead-letters";

/** Of so many finished runs over the limit one accepted run forgets; more than one, so that a limit that was lowered is reached. */
const FORGOTTEN_AT_ONCE = 4;

export const INDEX_PARTS = `
local function facet(tenant, name) return '${FACETS}' .. tenant .. ':' .. name end
local function in_state(tenant, state) return facet(tenant, '${stateFacet("")}' .. state) end
-- It moves from one set of states to another, or comes into its first.
local function file(id, tenant, from, to)
  if from then redis.call('ZREM', in_state(tenant, from), id) end
  redis.call('ZADD', in_state(tenant, to), 0, id)
end
-- The sets that it is in for good. A request that cannot be read tells of none.
local function facets_of(tenant, text)
  local sets, ok, request = {}, pcall(cjson.decode, text or '')
  if not ok or type(request) ~= 'table' then return sets end
  if request.image then sets[1] = facet(tenant, '${imageFacet("")}' .. request.image) end
  for name, value in pairs(request.labels or {}) do
    sets[#sets + 1] = facet(tenant, 'label:' .. #name .. ':' .. name .. '=' .. value)
  end
  return sets
end
-- Nothing of a finished run is left.
local function forget(id)
  local run = '${keys.run("")}' .. id
  local held = redis.call('HMGET', run, 'tenant', 'request')
  redis.call('ZREM', '${keys.finished}', id)
  if not held[1] then return end
  local sets = facets_of(held[1], held[2])
  sets[#sets + 1] = in_state(held[1], 'finished')
  sets[#sets + 1] = facet(held[1], '${DEAD_LETTERS}')
  for _, set in ipairs(sets) do redis.call('ZREM', set, id) end
  redis.call('ZREM', '${keys.webhooks}', 'run:' .. id)
  redis.call('UNLINK', run, run .. ':stdout', run .. ':stderr', run .. ':stdin', run .. ':files', run .. ':artifacts', run .. ':artifact-tar', run .. ':waiters', '${keys.deliveries("run:")}' .. id)
  for _, state in ipairs({ 'queued', 'starting', 'running', 'finished' }) do
    if redis.call('EXISTS', in_state(held[1], state)) == 1 then return end
  end
  redis.call('ZREM', '${keys.filed}', held[1])
end
-- Of a tenant that keeps more than it may the oldest finished runs go. How many there were.
local function forget_surplus(tenant, kept)
  local total = 0
  for _, state in ipairs({ 'queued', 'starting', 'running', 'finished' }) do total = total + redis.call('ZCARD', in_state(tenant, state)) end
  local surplus = math.min(total - kept, ${FORGOTTEN_AT_ONCE})
  if surplus > 0 then
    for _, id in ipairs(redis.call('ZRANGE', in_state(tenant, 'finished'), 0, surplus - 1)) do forget(id) end
  end
  return total
end
`;
