// How many runs of a scenario's kinds a target does in a second at most, as a measure for the scenario's rate: lanes that each ask
// for the next run when the last has ended. Such a closed loop finds the limit and never goes beyond it.

import { availableParallelism } from "node:os";
import { send } from "../infra/http.ts";
import { faultOfRun } from "./k6/judge.js";
import { kindAt } from "./k6/kinds.js";
import type { Target } from "./target.ts";

const DEFAULT_MS = 4_000;
/** A worker with its defaults has four runs of one CPU alive for each CPU that it has: twice that keeps it busy. */
const LANES_PER_CPU = 8;
/** Fewer than the smallest queue that a scenario asks for. */
const MAX_LANES = 40;
const WAIT_S = 60;
const LIMIT_MS = 75_000;

/** Runs a second. Rejects if one does not end as it must. */
export async function measureCapacity(
  target: Target,
  kinds: readonly string[],
  durationMs: number = DEFAULT_MS,
): Promise<number> {
  const started = performance.now();
  let asked = 0;
  const lane = async () => {
    while (performance.now() - started < durationMs) await runOne(target, kinds, asked++);
  };
  const lanes = Math.min(MAX_LANES, availableParallelism() * LANES_PER_CPU);
  await Promise.all(Array.from({ length: lanes }, lane));
  return asked / ((performance.now() - started) / 1000);
}

async function runOne({ url, image }: Target, kinds: readonly string[], iteration: number): Promise<void> {
  const kind = kindAt(kinds, iteration);
  const token = `token-${iteration}`;
  const headers = { "content-type": "application/json", prefer: `wait=${WAIT_S}` };
  const body = JSON.stringify({ image, ...kind.asks(token) });
  const answer = await send(`${url}/v1/runs`, { method: "POST", headers, body, limitMs: LIMIT_MS });
  const fault = faultOfRun({ ...answer, headers: plain(answer.headers) }, kind.ends(token));
  if (fault !== "") throw new Error(`a run, while the capacity was measured, ${fault}`);
}

/** Headers that are there once, as all are that are read. */
function plain(headers: Readonly<Record<string, string | string[] | undefined>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
}
