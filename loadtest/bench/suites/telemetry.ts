// telemetry: what it costs to be traced. The same stack twice, with and without a receiver of OTLP, under the same load in turn. The
// receiver reads all it is sent and does nothing with it.

import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { type MayflyHttp, openMayflyStack } from "../contenders/mayfly-http.ts";
import { type SuiteReport, suiteReport } from "../report.ts";
import { interleave, type Lane } from "../rounds.ts";
import type { Bench, Suite } from "./suite.ts";

const UNIT = "containers/s";
/** Enough that the processors never wait. */
const PARALLEL = 32;
const SETTLE_MS = 1_000;
/** A few per cent are looked for, and a round may be off by as much: many short ones. */
const FULL = { rounds: 15, ms: 3_000 };
const QUICK = { rounds: 2, ms: 1_500 };

export const telemetry: Suite = async (bench) => {
  const sink = await openSink();
  const stacks: MayflyHttp[] = [];
  try {
    const off = await open(bench, stacks, "off", undefined);
    const on = await open(bench, stacks, "on", sink.url);
    return await measure(bench, [
      ["off", off, () => "no receiver is named: nothing is traced"],
      ["on", on, () => `every run traced, ${sink.requests} batches sent to a receiver on this machine`],
    ]);
  } finally {
    for (const stack of stacks.toReversed()) await stack.close();
    sink.server.close();
    sink.server.closeAllConnections();
  }
};

/** What the caller's shell says of OpenTelemetry is not for a comparison of with and without. */
async function open(
  { workshop, busybox, say }: Bench,
  stacks: MayflyHttp[],
  name: "off" | "on",
  endpoint: string | undefined,
): Promise<MayflyHttp> {
  say(`getting ready: ${name}`);
  const callers = Object.keys(process.env).filter((variable) => variable.startsWith("OTEL_"));
  const env = Object.fromEntries(callers.map((variable) => [variable, undefined]));
  const stack = await openMayflyStack(workshop, {
    name: `telemetry-${name}`,
    env: endpoint === undefined ? env : { ...env, OTEL_EXPORTER_OTLP_ENDPOINT: endpoint },
  });
  stacks.push(stack);
  await stack.prepare(busybox);
  return stack;
}

async function measure(
  { busybox, isQuick, say }: Bench,
  sides: readonly (readonly [name: string, stack: MayflyHttp, says: () => string])[],
): Promise<SuiteReport> {
  const { rounds, ms } = isQuick ? QUICK : FULL;
  const lanes: Lane[] = sides.map(([name, stack, says]) => ({
    name,
    unit: UNIT,
    note: () => `${says()}; ${PARALLEL} side by side; ${stack.note}`,
    measure: async () => [await stack.load(busybox, { parallel: PARALLEL, ms })],
  }));
  return suiteReport(await interleave(lanes, { rounds, settleMs: SETTLE_MS }, say), ["on/off"]);
}

interface Sink {
  readonly server: Server;
  readonly url: string;
  readonly requests: number;
}

async function openSink(): Promise<Sink> {
  let requests = 0;
  const server = createServer((request, response) => {
    requests++;
    request.resume();
    request.once("end", () => response.writeHead(200, { "content-type": "application/json" }).end("{}"));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    server,
    url,
    get requests() {
      return requests;
    },
  };
}
