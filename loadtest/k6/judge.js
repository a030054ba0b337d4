// @ts-check
// Whether an answer is what it must be, in substance and not only in its status. A fault is told in words; none is "".

import { parseServerTiming } from "./server-timing.js";

/**
 * @typedef {{status: number, headers: Record<string, string>, body: unknown}} Answer
 * @typedef {import("./kinds.js").Ending} Ending
 * @typedef {Record<string, unknown>} Facts
 * @typedef {{state?: unknown, outcome?: Facts, stdout?: Facts, reason?: unknown, receipt?: {phases?: Facts}}} Body
 *   The parts of a run, or of a problem, that are looked at.
 */

export const PHASES = ["queue", "pull", "prepare", "start", "run", "collect"];

/** Why there are two: one is the queue's limit, the other that of the requests which a gateway holds. */
const REFUSALS = ["queue_full", "too_many_waiters"];

/** What of a body is shown when it is not what was expected. */
const SHOWN = 300;

/**
 * The fault of a run that is over: its outcome, its output, and that its phases are told, in the body and in the header.
 * @param {Answer} answer
 * @param {Ending} ends
 */
export function faultOfRun(answer, ends) {
  if (answer.status !== 200) return `is answered ${answer.status}: ${shown(answer.body)}`;
  const run = parse(answer.body);
  if (run.state !== "finished") return `is answered 200 in state ${run.state}`;
  const outcome = difference(run.outcome, ends.outcome);
  if (outcome) return `has ended otherwise: ${outcome}`;
  const stdout = ends.stdout ? difference(run.stdout, ends.stdout) : "";
  if (stdout) return `has printed something else: ${stdout}`;
  return faultOfPhases(run, parseServerTiming(headerOf(answer.headers, "server-timing")));
}

/**
 * @param {Body} run
 * @param {Record<string, number>} timing
 */
function faultOfPhases(run, timing) {
  const told = (run.receipt && run.receipt.phases) || {};
  const missing = PHASES.filter((phase) => typeof told[phase] !== "number");
  if (missing.length > 0) return `has a receipt without the phases ${missing.join(", ")}`;
  const other = PHASES.filter((phase) => timing[phase] !== told[phase]);
  return other.length > 0 ? `has a Server-Timing that differs from its receipt: ${other.join(", ")}` : "";
}

/**
 * The fault of a refusal: a caller must be told when to come back, and why.
 * @param {Answer} answer
 */
export function faultOfRefusal(answer) {
  if (answer.status !== 429) return `is answered ${answer.status}: ${shown(answer.body)}`;
  const retryAfter = headerOf(answer.headers, "retry-after");
  if (!/^[1-9]\d*$/.test(retryAfter)) return `is refused without saying when to come back: Retry-After: ${retryAfter}`;
  const reason = String(parse(answer.body).reason);
  return REFUSALS.includes(reason) ? "" : `is refused for an odd reason: ${reason}`;
}

/**
 * k6 writes names of headers as `Server-Timing`, Node as `server-timing`.
 * @param {Record<string, string>} headers
 * @param {string} name
 */
export function headerOf(headers, name) {
  const found = Object.keys(headers).find((each) => each.toLowerCase() === name);
  return (found && headers[found]) || "";
}

/**
 * What `expected` has and `actual` has not, or has otherwise.
 * @param {Facts | undefined} actual
 * @param {Facts} expected
 */
function difference(actual, expected) {
  const is = actual || {};
  const names = Object.keys(expected).filter((name) => is[name] !== expected[name]);
  return names.map((name) => `${name} is ${shown(is[name])}, not ${shown(expected[name])}`).join(", ");
}

/**
 * @param {unknown} body
 * @returns {Body}
 */
function parse(body) {
  try {
    return JSON.parse(String(body)) || {};
  } catch (_) {
    return {}; // Whatever is looked for in it will be missed.
  }
}

/** @param {unknown} value */
function shown(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value) || String(value);
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
}
