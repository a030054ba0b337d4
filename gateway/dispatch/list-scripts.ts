// A walk through the sets by which runs are found (core/index-parts.ts), newest first, as Lua that Redis runs atomically.

import { define } from "../../core/transition-parts.ts";

/** How many ids one step looks at. It takes Redis some two milliseconds, in which it does nothing else. */
export const BUDGET = 2_000;
/** How many ids are read ahead, over all sources. */
const READ_AHEAD = 128;

/**
 * Runs that are in all sets of one source, of several sources merged by id, newest first. Of each source the smallest set is walked, and its
 * members looked for in the others. Many sources cost time at each id, and count towards the budget.
 * ARGV: how many at most, top ("+" or "(id"), bottom ("-" or "[id"), sources as JSON: [[set, …], …]
 * → {"1" if that was all, else "0", the last id that was looked at or "", id, …}
 */
export const walk = define(`
  local limit, top, bottom = tonumber(ARGV[1]), ARGV[2], ARGV[3]
  local sources = {}
  for _, sets in ipairs(cjson.decode(ARGV[4])) do
    local least, smallest = math.huge, 1
    for i, set in ipairs(sets) do
      local size = redis.call('ZCARD', set)
      if size < least then least, smallest = size, i end
    end
    local walked = table.remove(sets, smallest)
    if least > 0 then sources[#sources + 1] = { set = walked, others = sets, from = top, ids = {}, at = 0 } end
  end
  local page = math.max(2, math.floor(${READ_AHEAD} / #sources))
  local function step(source)
    if source.at == #source.ids and not source.isLast then
      source.ids, source.at = redis.call('ZREVRANGEBYLEX', source.set, source.from, bottom, 'LIMIT', 0, page), 0
      source.isLast = #source.ids < page
      source.from = '(' .. (source.ids[#source.ids] or '')
    end
    source.at = source.at + 1
    source.head = source.ids[source.at]
  end
  for _, source in ipairs(sources) do step(source) end
  local answer, spent = { '1', '' }, 0
  while true do
    local newest
    for _, source in ipairs(sources) do
      if source.head and (not newest or source.head > newest.head) then newest = source end
    end
    if not newest then return answer end
    if #answer - 2 == limit or spent > ${BUDGET} then
      answer[1] = '0'
      return answer
    end
    spent = spent + 1 + #sources / 16
    local id, isIn = newest.head, true
    for _, other in ipairs(newest.others) do isIn = isIn and redis.call('ZSCORE', other, id) end
    if isIn then answer[#answer + 1] = id end
    answer[2] = id
    step(newest)
  end
`);
