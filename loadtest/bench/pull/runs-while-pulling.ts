// What a run of another image notices when its host pulls: runs through the whole of Mayfly, alone, and while large images are
// pulled one after the other.

import { openMayflyHttp } from "../contenders/mayfly-http.ts";
import { percentile, type Ratio, rounded } from "../figures.ts";
import type { Measured } from "../rounds.ts";
import type { Bench } from "../suites/suite.ts";

const FULL = { rounds: 5, count: 200 };
const QUICK = { rounds: 1, count: 5 };
/** So many runs, and then it is looked whether the pulls are over. */
const BATCH = 10;
const PAUSE_MS = 20;
const [ALONE, PULLING] = ["run alone", "run while pulling"];

/** No two of the images share a layer. */
export async function runsWhilePulling(
  { workshop, busybox, isQuick, say }: Bench,
  references: readonly string[],
): Promise<{ rows: Measured[]; ratio: Ratio }> {
  const { rounds, count } = isQuick ? QUICK : FULL;
  const contender = await openMayflyHttp(workshop);
  const samples: Record<string, number[][]> = { [ALONE]: [], [PULLING]: [] };
  try {
    await contender.prepare(busybox);
    for (let round = 1; round <= rounds; round++) {
      say(`runs alone and while pulling, round ${round} of ${rounds}`);
      samples[ALONE]?.push([...(await contender.start(busybox, { count, pauseMs: PAUSE_MS }))]);
      samples[PULLING]?.push(
        await during(pullAll(contender.url, references), () =>
          contender.start(busybox, { count: BATCH, pauseMs: PAUSE_MS }),
        ),
      );
      await removeAll(contender.url, references);
    }
  } finally {
    await contender.close();
  }
  const p99 = (name: string) => percentile(samples[name]?.flat() ?? [], 99);
  return {
    rows: [ALONE, PULLING].map((name) => ({
      name,
      unit: "ms",
      note: name === ALONE ? contender.note : `as ${ALONE}, while ${references.join(" and ")} are pulled`,
      rounds: samples[name] ?? [],
    })),
    ratio: { name: `p99 ${PULLING}/${ALONE}`, value: rounded(p99(PULLING) / p99(ALONE)) },
  };
}

/** What `sample` gives again and again for as long as the work goes on. */
async function during(work: Promise<void>, sample: () => Promise<readonly number[]>): Promise<number[]> {
  let isOver = false;
  const ended = work.finally(() => {
    isOver = true;
  });
  ended.catch(() => {}); // Told below.
  const samples: number[] = [];
  while (!isOver) samples.push(...(await sample()));
  await ended;
  return samples;
}

async function pullAll(gateway: URL, references: readonly string[]): Promise<void> {
  for (const reference of references) {
    const told = await ask(gateway, "/v1/images/pull", { method: "POST", body: JSON.stringify({ reference }) });
    if (!told.includes('"ready"')) throw new Error(`${reference} was not pulled: ${told.slice(-500)}`);
  }
}

async function removeAll(gateway: URL, references: readonly string[]): Promise<void> {
  for (const reference of references)
    await ask(gateway, `/v1/images?reference=${encodeURIComponent(reference)}`, { method: "DELETE" });
}

async function ask(gateway: URL, path: string, init: RequestInit): Promise<string> {
  const answer = await fetch(new URL(path, gateway), { ...init, headers: { "content-type": "application/json" } });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${init.method} ${path} was answered ${answer.status}: ${text}`);
  return text;
}
