// list: how long a page of runs takes where many are kept, by what it is asked for. From the request to the last byte of the answer.

import { pacedOnce } from "../pace.ts";
import { withGateway } from "../records/with-gateway.ts";
import { suiteReport } from "../report.ts";
import { interleave } from "../rounds.ts";
import type { Suite } from "./suite.ts";

const FULL = { runs: 100_000, rounds: 20, count: 20 };
const QUICK = { runs: 5_000, rounds: 2, count: 10 };
const PAUSE_MS = 2;
const SETTLE_MS = 20;
/** One in so many still waits. */
const UNFINISHED = 50;
/** The tenant of a gateway without keys, which may do everything. */
const TENANT = "default";

/** Of each there is one in so many: `shard` is common, `build` rare, `rare` and `common` together almost never. */
const requestOf = (i: number) => ({
  image: `registry.example/image-${i % 10}:latest`,
  command: ["true"],
  labels: { shard: `${i % 4}`, build: `${i % 1_000}`, ...(i % 3 ? {} : { third: "yes" }) },
});

const QUERIES: Readonly<Record<string, string>> = {
  all: "",
  "state=finished": "?state=finished",
  "state=queued": "?state=queued",
  "label, one in 4": "?label=shard%3D1",
  "label, one in 1,000": "?label=build%3D17",
  image: "?image=registry.example%2Fimage-3%3Alatest",
  "two labels, state": "?label=shard%3D1&label=third%3Dyes&state=finished",
  "labels that exclude each other": "?label=shard%3D1&label=build%3D16",
  "one in 4 and one in 3, limit=500": "?label=shard%3D1&label=third%3Dyes&limit=500",
  "everybody's": "?tenant=*",
  count: "/count",
  "count by two labels": "/count?label=shard%3D1&label=third%3Dyes",
};

export const list: Suite = ({ workshop, isQuick, say }) =>
  withGateway(workshop, "list", async ({ records, port }) => {
    const { runs, rounds, count } = isQuick ? QUICK : FULL;
    say(`${runs} runs`);
    await records.fill(TENANT, runs, { requestOf, unfinished: UNFINISHED });
    await records.fill("other", runs / 10, { requestOf, unfinished: UNFINISHED });
    const lanes = Object.entries(QUERIES).map(([name, query]) => ({
      name,
      unit: "ms",
      note: () => `GET /v1/runs${query}; ${runs} runs of the tenant are kept`,
      measure: () => pacedOnce({ count, pauseMs: PAUSE_MS }, () => time(`http://127.0.0.1:${port}/v1/runs${query}`)),
    }));
    return suiteReport(await interleave(lanes, { rounds, settleMs: SETTLE_MS }, say), []);
  });

async function time(url: string): Promise<number> {
  const start = performance.now();
  const answer = await fetch(url);
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(`${answer.status}: ${text}`);
  return performance.now() - start;
}
