// batch: how many items a second a gateway takes in, as a line each and as a template's inputs, beside the same runs asked for one by one; and
// how much memory the gateway has at most during each batch. Nothing executes them: it is the way in that is measured.

import { readFileSync } from "node:fs";
import { withGateway } from "../records/with-gateway.ts";
import { suiteReport } from "../report.ts";
import { interleave, type Lane } from "../rounds.ts";
import type { Suite } from "./suite.ts";

const UNIT = "items/s";
const FULL = { rounds: 5, items: 100_000, singles: 2_000 };
const QUICK = { rounds: 2, items: 5_000, singles: 200 };
/** Callers that ask for one run after the other. */
const PARALLEL = 32;
const SETTLE_MS = 500;
/** A body is made in pieces of so many lines, as it is asked for. */
const PIECE = 500;
const RSS_EVERY_MS = 20;

const request = (i: number) => ({
  image: "registry.example/tool:latest",
  command: ["process", `/in/file-${i}`],
  labels: { shard: `${i % 16}` },
});
const TEMPLATE = { image: "registry.example/tool:latest", command: ["process", "/in/{}"] };

export const batch: Suite = ({ workshop, isQuick, say }) =>
  withGateway(workshop, "batch", async ({ port, gatewayPid }) => {
    const { rounds, items, singles } = isQuick ? QUICK : FULL;
    const url = `http://127.0.0.1:${port}`;
    const lines = function* () {
      for (let i = 0; i < items; i++) yield JSON.stringify(request(i));
    };
    const inputs = function* () {
      yield JSON.stringify({ batch: { template: TEMPLATE } });
      for (let i = 0; i < items; i++) yield JSON.stringify(`file-${i}`);
    };
    const memory = new Map<string, number[][]>([
      ["memory: lines", []],
      ["memory: template", []],
    ]);
    const lane = (name: string, body: () => Iterable<string>): Lane => ({
      name,
      unit: UNIT,
      note: () => `POST /v1/batches with ${items} lines, to the last acknowledgement`,
      measure: async () => {
        const { result, peakMib } = await withPeak(gatewayPid, () => send(url, body()));
        memory.get(`memory: ${name}`)?.push([peakMib]);
        return [result];
      },
    });
    const oneByOne: Lane = {
      name: "one-by-one",
      unit: UNIT,
      note: () => `POST /v1/runs, ${PARALLEL} callers at once, answered 202`,
      measure: async () => [await singly(url, singles)],
    };
    const lanes = [lane("lines", lines), lane("template", inputs), oneByOne];
    const measured = await interleave(lanes, { rounds, settleMs: SETTLE_MS }, say);
    const note = "the gateway's resident memory at its highest during each batch, one after the other";
    const held = [...memory].map(([name, rounds]) => ({ name, unit: "MiB", note, rounds }));
    return suiteReport([...measured, ...held], ["lines/one-by-one", "template/one-by-one"]);
  });

/** Items a second. The batch is cancelled then, so that the next has the same Redis. */
async function send(url: string, lines: Iterable<string>): Promise<number> {
  const start = performance.now();
  const answer = await fetch(`${url}/v1/batches`, {
    method: "POST",
    headers: { "content-type": "application/x-ndjson" },
    body: bodyOf(lines),
    duplex: "half",
  } as RequestInit);
  const last = (await answer.text()).trim().split("\n").at(-1) ?? "";
  const seconds = (performance.now() - start) / 1000;
  const { end } = JSON.parse(last) as { end?: { id: string; counts: { total: number } } };
  if (!end) throw new Error(`POST /v1/batches ended with ${last}`);
  await fetch(`${url}/v1/batches/${end.id}/cancel`, { method: "POST" });
  return end.counts.total / seconds;
}

function bodyOf(lines: Iterable<string>): ReadableStream<Uint8Array> {
  const rest = lines[Symbol.iterator]();
  return new ReadableStream({
    pull(controller) {
      const piece = Array.from({ length: PIECE }, () => rest.next().value as string | undefined).filter(
        (line) => line !== undefined,
      );
      if (piece.length === 0) return controller.close();
      controller.enqueue(Buffer.from(piece.map((line) => `${line}\n`).join("")));
    },
  });
}

async function singly(url: string, count: number): Promise<number> {
  const start = performance.now();
  let next = 0;
  const caller = async () => {
    while (next < count) {
      const body = JSON.stringify(request(next++));
      const answer = await fetch(`${url}/v1/runs`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
      });
      const text = await answer.text();
      if (answer.status !== 202) throw new Error(`${answer.status}: ${text}`);
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, caller));
  return count / ((performance.now() - start) / 1000);
}

/** And what the process holds at most while it is done. */
async function withPeak<T>(pid: number, work: () => Promise<T>): Promise<{ result: T; peakMib: number }> {
  let peakKib = 0;
  const timer = setInterval(() => (peakKib = Math.max(peakKib, residentKib(pid))), RSS_EVERY_MS);
  try {
    const result = await work();
    return { result, peakMib: Math.round(Math.max(peakKib, residentKib(pid)) / 1024) };
  } finally {
    clearInterval(timer);
  }
}

/** proc_pid_status(5): `VmRSS:     84212 kB`. */
function residentKib(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
}
