// @ts-check
// The Server-Timing header, as the gateway writes it: where the time of a run went.
//
// Plain JavaScript without imports, as k6 and Node both load it.

/**
 * Milliseconds by name of a header such as `queue;dur=0.9, pull;dur=0.1`. Entries without a duration are left out.
 * @param {string | undefined} header
 * @returns {Record<string, number>}
 */
export function parseServerTiming(header) {
  /** @type {Record<string, number>} */
  const durations = {};
  for (const entry of (header || "").split(",")) {
    const [name, ...parameters] = entry.split(";").map((part) => part.trim());
    const duration = parameters.map(durationOf).find((ms) => ms !== undefined);
    if (name && duration !== undefined) durations[name] = duration;
  }
  return durations;
}

/**
 * @param {string} parameter
 * @returns {number | undefined}
 */
function durationOf(parameter) {
  const found = /^dur\s*=\s*"?(\d+(?:\.\d+)?(?:e[+-]?\d+)?)"?$/i.exec(parameter);
  return found ? Number(found[1]) : undefined;
}
