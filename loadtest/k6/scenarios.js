// @ts-check
// The scenarios as data: what each shows, what it asks for and how often, and which thresholds it must hold.
//
// All are open models: runs arrive at a rate of their own, whether the answers to the earlier ones have come or not, as they
// do from callers who do not know of each other. A slow system is not spared by callers who wait. Rates are parts of what the
// host was measured to do, as a figure that fits today's host fits no other.

import { MIX } from "./kinds.js";

/**
 * @typedef {{rate: number, durationS: number}} Load
 *   Of a burst, the rate is how many come at once.
 * @typedef {Record<string, string[]>} Thresholds
 * @typedef {object} Scenario
 * @property {string} says
 * @property {number} durationS
 * @property {{share: number} | {rate: number}} rate  A share of what the host does of these kinds, or runs a second.
 * @property {readonly string[]} kinds
 * @property {number} waitS  How long each caller waits.
 * @property {boolean} isRefusable  Whether 429 is a right answer, and 202 to those who have waited long enough.
 * @property {Record<string, string>} settings  What a stack of its own is given.
 * @property {boolean} isLeakChecked
 * @property {(load: Load) => Record<string, unknown>} arrivals  A scenario of k6's.
 * @property {Thresholds} thresholds
 */

/** How many callers k6 has at most. */
const MAX_CALLERS = 1000;
/** How long k6 waits for answers once nothing arrives any more. */
const GRACEFUL_STOP = "90s";
/** k6 takes whole numbers only: by the minute, a rate of 0.1 a second is one. */
const TIME_UNIT = "1m";
const BURST_EVERY_S = 10;
const BURST_MS = 100;
/** More than the host has room for at once, so that it is never idle, and soon worked off. */
const RAMP_QUEUE = 50;
/** Runs that are alive at once: the default of MAYFLY_SLOTS. */
const SLOTS = 64;

/**
 * What holds in every scenario: nothing fails, all is as it must be, and k6 itself has kept up.
 * @type {Thresholds}
 */
const ALWAYS = {
  as_expected: ["rate==1"],
  finished: ["count>0"],
  http_req_failed: ["rate==0"],
  dropped_iterations: ["count==0"],
};

/** @type {Omit<Scenario, "says" | "durationS" | "rate">} */
const PLAIN = {
  kinds: ["echo"],
  waitS: 60,
  isRefusable: false,
  settings: {},
  isLeakChecked: false,
  arrivals: constant,
  thresholds: ALWAYS,
};

/** @type {Record<string, Scenario>} */
export const SCENARIOS = {
  smoke: scenario({ says: "a few runs: all answered 200, all exited 0", durationS: 5, rate: { rate: 2 } }),
  cold: scenario({
    says: "one run at a time, 10 s apart: what a run costs on a host that has nothing else to do",
    durationS: 60,
    rate: { rate: 0.1 },
    arrivals: (load) => Object.assign(constant(load), { preAllocatedVUs: 1, maxVUs: 1 }),
  }),
  steady: scenario({
    says: "a constant rate below capacity: nothing is refused and no queue builds up",
    durationS: 30,
    rate: { share: 0.6 },
    thresholds: Object.assign({ phase_queue: ["p(95)<1000"] }, ALWAYS),
  }),
  ramp: scenario({
    says: "from half of capacity to twice as much as it: what is too much is refused at once with 429, the rest finishes",
    durationS: 60,
    rate: { share: 2 },
    waitS: 5,
    isRefusable: true,
    settings: { MAYFLY_MAX_QUEUED: String(RAMP_QUEUE) },
    arrivals: ramp,
    thresholds: Object.assign({ answers_429: ["count>0"], refusal: ["p(95)<1000"] }, ALWAYS),
  }),
  burst: scenario({
    says: "100 runs at once, from nothing: all are accepted, and all finish",
    durationS: BURST_EVERY_S,
    rate: { rate: 100 },
    arrivals: bursts,
  }),
  soak: scenario({
    says: "all kinds of runs for a while; afterwards the kernel has of them what it had before",
    durationS: 120,
    rate: { share: 0.5 },
    kinds: MIX,
    isLeakChecked: true,
  }),
  mixed: scenario({
    says: "all kinds of runs: sizes, input, output, and a share that fails, times out or is killed; each ends as it must",
    durationS: 30,
    rate: { share: 0.5 },
    kinds: MIX,
  }),
};

/**
 * @param {Pick<Scenario, "says" | "durationS" | "rate"> & Partial<Scenario>} own
 * @returns {Scenario}
 */
function scenario(own) {
  return Object.assign({}, PLAIN, own);
}

/** @param {Load} load */
function constant({ rate, durationS }) {
  return {
    executor: "constant-arrival-rate",
    rate: perMinute(rate),
    timeUnit: TIME_UNIT,
    duration: `${durationS}s`,
    // As many callers as wait at once if each answer takes four seconds.
    preAllocatedVUs: callers(rate * 4 + 10),
    gracefulStop: GRACEFUL_STOP,
  };
}

/**
 * A tenth of the time at half of capacity; half of it up to the peak, a quarter there; the rest at half of capacity again.
 * @param {Load} load
 */
function ramp({ rate, durationS }) {
  const [low, peak] = [perMinute(rate / 4), perMinute(rate)];
  /** @param {number} target @param {number} share */
  const stage = (target, share) => ({ target, duration: `${Math.round(durationS * share * 1000)}ms` });
  return {
    executor: "ramping-arrival-rate",
    startRate: low,
    timeUnit: TIME_UNIT,
    stages: [stage(low, 0.1), stage(peak, 0.5), stage(peak, 0.25), stage(low, 0), stage(low, 0.15)],
    // Who waits, and who is being refused: in one second by the threshold, in two if it is crossed.
    preAllocatedVUs: callers(RAMP_QUEUE + SLOTS + rate * 2),
    gracefulStop: GRACEFUL_STOP,
  };
}

/** @param {Load} load */
function bursts({ rate, durationS }) {
  // k6 counts the last one only when its moment is past.
  const high = Math.round(((rate + 0.1) * 60000) / BURST_MS);
  const stages = [];
  for (let burst = 0; burst < Math.max(1, Math.floor(durationS / BURST_EVERY_S)); burst++) {
    stages.push({ target: high, duration: "0s" }, { target: high, duration: `${BURST_MS}ms` });
    stages.push({ target: 0, duration: "0s" }, { target: 0, duration: `${BURST_EVERY_S * 1000 - BURST_MS}ms` });
  }
  return {
    executor: "ramping-arrival-rate",
    startRate: 0,
    timeUnit: TIME_UNIT,
    stages,
    preAllocatedVUs: callers(rate * 2),
    gracefulStop: GRACEFUL_STOP,
  };
}

/** @param {number} rate */
function perMinute(rate) {
  return Math.max(1, Math.round(rate * 60));
}

/**
 * A caller of k6's is a few megabytes. All are made beforehand: to make them under load would disturb it.
 * @param {number} count
 */
function callers(count) {
  return Math.min(MAX_CALLERS, Math.ceil(count));
}
