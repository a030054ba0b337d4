// flood: how long one run takes whose tenant has nothing else, while another tenant's hundred thousand wait for the same slots: as a batch's
// items, and as runs that were asked for one by one. The whole stack, with containers.
//
// What is promised is twice what it takes when nobody else is there, and the turn of one slot: the time that a run of the others takes.

import { createHash, randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { HttpConnection } from "../contenders/http-connection.ts";
import { openMayflyStack } from "../contenders/mayfly-http.ts";
import { pacedOnce } from "../pace.ts";
import { suiteReport } from "../report.ts";
import { interleave, type Measured } from "../rounds.ts";
import type { Suite } from "./suite.ts";

const FULL = { waiting: 100_000, rounds: 10, count: 20 };
const QUICK = { waiting: 1_000, rounds: 2, count: 5 };
const SLOTS = 4;
const TURN_MS = 100;
/** Of those that wait: they are all still there at the end. */
const PATIENCE = "2h";
const PAUSE_MS = 50;
const SETTLE_MS = 1_000;
const WARM_UP_RUNS = 100;
/** Callers that ask for one run after the other. */
const PARALLEL = 32;

export const flood: Suite = async (bench) => {
  const { workshop, busybox, isQuick, say } = bench;
  const { waiting, rounds, count } = isQuick ? QUICK : FULL;
  const [one, many] = [tenant("one"), tenant("many")];
  const keys = join(await workshop.room("flood-keys"), "keys");
  await writeFile(keys, `${one.line}\n${many.line}\n`);
  const env = { MAYFLY_API_KEYS_FILE: keys, MAYFLY_SLOTS: String(SLOTS), MAYFLY_MAX_QUEUED: String(2 * waiting) };
  const stack = await openMayflyStack(workshop, { name: "flood", env });
  try {
    const { url } = stack;
    const short = request(url, one.key, "wait=30", { image: busybox.reference, command: ["true"] });
    const command = ["sh", "-c", `sleep ${TURN_MS / 1000}`, "{}"];
    const sleep = { image: busybox.reference, command, timeouts: { queue: PATIENCE } };
    let caller = await HttpConnection.open(url);
    const time = async () => {
      if (!caller.isOpen) caller = await HttpConnection.open(url); // The gateway has closed it, while nothing was asked.
      const start = performance.now();
      expect(await caller.send(short), '"outcome":{"kind":"exited","exitCode":0}');
      return performance.now() - start;
    };
    const measure = async (name: string, note: string) => {
      const lane = { name, unit: "ms", note: () => note, measure: () => pacedOnce({ count, pauseMs: PAUSE_MS }, time) };
      return interleave([lane], { rounds, settleMs: SETTLE_MS }, say);
    };
    for (let i = 0; i < WARM_UP_RUNS; i++) await time();

    const idle = await measure(
      "idle",
      "a run of `true`, from the request to the whole answer, with nothing else there",
    );
    say(`a batch of ${waiting}`);
    const batch = await sendBatch(url, many.key, sleep, waiting);
    const besideBatch = await measure(
      "beside a batch",
      `the same, while ${waiting} items of another tenant's batch wait for ${SLOTS} slots, ${TURN_MS} ms each`,
    );
    await cancel(url, many.key, batch);
    say(`${waiting} runs, one by one`);
    const rate = await submitAll(url, request(url, many.key, "respond-async", sleep), waiting);
    const besideRuns = await measure(
      "beside runs",
      `the same, while ${waiting} runs of another tenant wait; they were taken in at ${Math.round(rate)}/s`,
    );
    const all = [...idle, ...besideBatch, ...besideRuns, promised(idle)];
    return suiteReport(all, ["beside a batch/promised", "beside runs/promised"]);
  } finally {
    await stack.close();
  }
};

/** Of each time without the others: what it may be with them. */
function promised(idle: readonly Measured[]): Measured {
  const rounds = idle.flatMap((each) => each.rounds.map((round) => round.map((ms) => 2 * ms + TURN_MS)));
  return { name: "promised", unit: "ms", note: `twice idle, and the ${TURN_MS} ms of a slot's turn`, rounds };
}

function tenant(name: string): { key: string; line: string } {
  const key = randomBytes(24).toString("hex");
  return { key, line: `${name} ${createHash("sha256").update(key).digest("hex")}` };
}

const authorization = (key: string) => ({ authorization: `Bearer ${key}` });

function request(url: URL, key: string, prefer: string, body: object): Buffer {
  const headers = { "content-type": "application/json", prefer, ...authorization(key) };
  return HttpConnection.request(url, headers, JSON.stringify(body));
}

function expect(answer: string, part: string): void {
  if (!answer.includes(part)) throw new Error(`the gateway answered ${answer.slice(0, 500)}`);
}

/** Its id, once all of it is taken in. */
async function sendBatch(url: URL, key: string, template: object, items: number): Promise<string> {
  const lines = [{ batch: { template } }, ...Array.from({ length: items }, (_, i) => String(i))];
  const answer = await fetch(new URL("/v1/batches", url), {
    method: "POST",
    headers: { "content-type": "application/x-ndjson", ...authorization(key) },
    body: lines.map((line) => `${JSON.stringify(line)}\n`).join(""),
  });
  const last = (await answer.text()).trim().split("\n").at(-1) ?? "";
  const { end } = JSON.parse(last) as { end?: { id: string } };
  if (!end) throw new Error(`POST /v1/batches ended with ${last}`);
  return end.id;
}

async function cancel(url: URL, key: string, batch: string): Promise<void> {
  const answer = await fetch(new URL(`/v1/batches/${batch}/cancel`, url), {
    method: "POST",
    headers: authorization(key),
  });
  if (!answer.ok) throw new Error(`a batch is not cancelled: ${answer.status} ${await answer.text()}`);
}

/** How many were taken in a second. */
async function submitAll(url: URL, one: Buffer, count: number): Promise<number> {
  const start = performance.now();
  let left = count;
  const caller = async () => {
    const connection = await HttpConnection.open(url);
    while (left-- > 0) expect(await connection.send(one), "202 Accepted");
    connection.close();
  };
  await Promise.all(Array.from({ length: PARALLEL }, caller));
  return count / ((performance.now() - start) / 1000);
}
