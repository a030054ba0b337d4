// What a run of another image notices when its host pulls: runs through the whole of Mayfly, alone, and while one large image after
// the other is pulled and removed again.

import { openMayflyHttp } from "../contenders/mayfly-http.ts";
import { percentile, type Ratio, rounded } from "../figures.ts";
import type { Measured } from "../rounds.ts";
import type { Bench } from "../suites/suite.ts";

const FULL = { rounds: 3, count: 200 };
const QUICK = { rounds: 1, count: 5 };
const PAUSE_MS = 20;
const [ALONE, PULLING] = ["run alone", "run while pulling"];

/** `reference` is what is pulled. */
export async function runsWhilePulling(
  { workshop, busybox, isQuick, say }: Bench,
  reference: string,
): Promise<{ rows: Measured[]; ratio: Ratio }> {
  const { rounds, count } = isQuick ? QUICK : FULL;
  const contender = await openMayflyHttp(workshop);
  const samples: Record<string, number[][]> = { [ALONE]: [], [PULLING]: [] };
  let pulls = 0;
  try {
    await contender.prepare(busybox);
    for (let round = 1; round <= rounds; round++) {
      say(`runs alone and while pulling, round ${round} of ${rounds}`);
      samples[ALONE]?.push([...(await contender.start(busybox, { count, pauseMs: PAUSE_MS }))]);
      const over = new AbortController();
      const pulling = pullAgainAndAgain(contender.url, reference, over.signal);
      samples[PULLING]?.push([...(await contender.start(busybox, { count, pauseMs: PAUSE_MS }))]);
      over.abort();
      pulls += await pulling;
    }
  } finally {
    await contender.close();
  }
  const p99 = (name: string) => percentile(samples[name]?.flat() ?? [], 99);
  return {
    rows: [ALONE, PULLING].map((name) => ({
      name,
      unit: "ms",
      note: name === ALONE ? contender.note : `as ${ALONE}, with ${pulls} pulls of ${reference} meanwhile`,
      rounds: samples[name] ?? [],
    })),
    ratio: { name: `p99 ${PULLING}/${ALONE}`, value: rounded(p99(PULLING) / p99(ALONE)) },
  };
}

/** Ends with a whole pull, so that the next round begins with none under way. Answers how many there were. */
async function pullAgainAndAgain(gateway: URL, reference: string, over: AbortSignal): Promise<number> {
  let pulls = 0;
  while (!over.aborted) {
    const told = await ask(gateway, "/v1/images/pull", { method: "POST", body: JSON.stringify({ reference }) });
    if (!told.includes('"ready"')) throw new Error(`${reference} was not pulled: ${told.slice(-500)}`);
    await ask(gateway, `/v1/images?reference=${encodeURIComponent(reference)}`, { method: "DELETE" });
    pulls++;
  }
  return pulls;
}

async function ask(gateway: URL, path: string, init: RequestInit): Promise<string> {
  const answer = await fetch(new URL(path, gateway), { ...init, headers: { "content-type": "application/json" } });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${init.method} ${path} was answered ${answer.status}: ${text}`);
  return text;
}
