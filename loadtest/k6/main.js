// What k6 runs: one scenario, as the environment variable LOADTEST says in JSON (see loadtest/k6.ts).
//
// Alone here it is known that there is a k6; what is asked and what must come of it is in the files beside this one. The syntax
// of all of them is that of ES2015 and modules, as k6 from 2023 has no newer one.

import exec from "k6/execution";
import http from "k6/http";
import { Counter, Rate, Trend } from "k6/metrics";
import { faultOfRefusal, faultOfRun, headerOf, PHASES } from "./judge.js";
import { kindAt } from "./kinds.js";
import { SCENARIOS } from "./scenarios.js";
import { parseServerTiming } from "./server-timing.js";

const { url, image, name, load } = JSON.parse(__ENV.LOADTEST);
const scenario = SCENARIOS[name];

/** The longest that an answer may take after the wait that was asked for: then it is a failed request. */
const MARGIN_S = 15;
/** Who is answered 202 asks so often for the end, each time for so long. */
const FOLLOW_TRIES = 3;
const FOLLOW_WAIT_S = 60;
/** Faults that each caller tells; the rest is counted. */
const MAX_TOLD = 1;

const asked = new Counter("asked");
const finished = new Counter("finished");
const asExpected = new Rate("as_expected");
const refusal = new Trend("refusal", true);
/** From the request to the end of the run, as the caller sees it. */
const whole = new Trend("whole", true);
const answers = { 200: new Counter("answers_200"), 202: new Counter("answers_202"), 429: new Counter("answers_429") };
const otherAnswers = new Counter("answers_other");
const phases = PHASES.map((phase) => [phase, new Trend(`phase_${phase}`, true)]);
let told = 0;

export const options = {
  scenarios: { [name]: scenario.arrivals(load) },
  thresholds: scenario.thresholds,
  summaryTrendStats: ["count", "avg", "min", "med", "p(90)", "p(95)", "p(99)", "max"],
  discardResponseBodies: false,
};

http.setResponseCallback(http.expectedStatuses(...(scenario.isRefusable ? [200, 202, 429] : [200])));

export default function oneRun() {
  const iteration = exec.scenario.iterationInTest;
  const kind = kindAt(scenario.kinds, iteration);
  const token = `token-${iteration}`;
  asked.add(1);
  const started = Date.now();
  const answer = http.post(`${url}/v1/runs`, JSON.stringify(Object.assign({ image }, kind.asks(token))), {
    headers: { "content-type": "application/json", prefer: `wait=${scenario.waitS}` },
    timeout: `${scenario.waitS + MARGIN_S}s`,
  });
  (answers[answer.status] || otherAnswers).add(1);
  const fault =
    scenario.isRefusable && answer.status === 429
      ? refused(answer, started)
      : accepted(answer, kind.ends(token), started);
  asExpected.add(fault === "");
  if (fault !== "") tell(`${kind.asks(token).command.join(" ")} ${fault}`);
}

function refused(answer, started) {
  refusal.add(Date.now() - started);
  return faultOfRefusal(answer);
}

function accepted(first, ending, started) {
  const answer = scenario.isRefusable && first.status === 202 ? follow(headerOf(first.headers, "location")) : first;
  if (answer.status !== 200) return faultOfRun(answer, ending);
  whole.add(Date.now() - started);
  finished.add(1);
  const timing = parseServerTiming(headerOf(answer.headers, "server-timing"));
  for (const [phase, trend] of phases) if (timing[phase] !== undefined) trend.add(timing[phase]);
  return faultOfRun(answer, ending);
}

/** The last answer, once the run is over or the tries are. */
function follow(location) {
  let answer;
  for (let i = 0; i < FOLLOW_TRIES; i++) {
    answer = http.get(`${url}${location}`, {
      headers: { prefer: `wait=${FOLLOW_WAIT_S}` },
      timeout: `${FOLLOW_WAIT_S + MARGIN_S}s`,
    });
    if (answer.status !== 200 || answer.json("state") === "finished") return answer;
  }
  return answer;
}

function tell(fault) {
  if (told++ < MAX_TOLD) console.error(fault);
}
