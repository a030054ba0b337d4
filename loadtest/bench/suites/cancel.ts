// cancel: how long after the request a program that runs has been ended and everybody told, with SIGTERM that it obeys, and by force.

import type { Run } from "../../../core/run.ts";
import { openMayflyStack } from "../contenders/mayfly-http.ts";
import { suiteReport } from "../report.ts";
import { interleave, type Lane } from "../rounds.ts";
import type { Suite } from "./suite.ts";

const FULL = { rounds: 10, count: 20 };
const QUICK = { rounds: 2, count: 5 };
const SETTLE_MS = 500;
const HEADERS = { "content-type": "application/json" };

export const cancel: Suite = async (bench) => {
  const { rounds, count } = bench.isQuick ? QUICK : FULL;
  const stack = await openMayflyStack(bench.workshop, { name: "cancel" });
  try {
    await stack.prepare(bench.busybox);
    const request = JSON.stringify({ image: bench.busybox.reference, command: ["sleep", "60"] });
    const lane = (name: string, query: string): Lane => ({
      name,
      unit: "ms",
      note: () => `POST /v1/runs/{id}/cancel${query} of a program that sleeps, until who waits for the run has its end`,
      async measure() {
        const samples: number[] = [];
        for (let i = 0; i < count; i++) samples.push(await timeOne(stack.url, request, query));
        return samples;
      },
    });
    const lanes = [lane("cancelled", ""), lane("by force", "?force=true")];
    return suiteReport(await interleave(lanes, { rounds, settleMs: SETTLE_MS }, bench.say), []);
  } finally {
    await stack.close();
  }
};

async function timeOne(runs: URL, body: string, query: string): Promise<number> {
  const made = await ask(runs.href, { method: "POST", headers: { ...HEADERS, prefer: "respond-async" }, body });
  const one = `${runs.href}/${made.id}`;
  for (let { state } = made; state !== "running"; ) ({ state } = await ask(one));
  const end = ask(one, { headers: { prefer: "wait=30" } });
  await ask(one); // By now the gateway has heard who waits.
  const start = performance.now();
  const cancelled = ask(`${one}/cancel${query}`, { method: "POST" });
  const { outcome } = await end;
  const ms = performance.now() - start;
  await cancelled;
  if (outcome?.kind !== "cancelled") throw new Error(`a run that was cancelled ended as ${JSON.stringify(outcome)}`);
  return ms;
}

async function ask(url: string, init?: RequestInit): Promise<Run> {
  const answer = await fetch(url, init);
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${answer.status}: ${text}`);
  return JSON.parse(text) as Run;
}
