// watchers: many that watch one run through one gateway. How long after its end the last of them has been told, and what they hold of memory.

import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import type { Records } from "../records/records.ts";
import { withGateway } from "../records/with-gateway.ts";
import { suiteReport } from "../report.ts";
import { interleave } from "../rounds.ts";
import type { Suite } from "./suite.ts";

const FULL = { watchers: 1_000, rounds: 10 };
const QUICK = { watchers: 200, rounds: 2 };
const SETTLE_MS = 200;
const OUTPUT = Buffer.alloc(4_096, "x");
const TENANT = "default";

export const watchers: Suite = ({ workshop, isQuick, say }) =>
  withGateway(workshop, "watchers", async ({ records, port }) => {
    const { watchers, rounds } = isQuick ? QUICK : FULL;
    const memory: number[][] = [];
    const end = {
      name: "the last has the end",
      unit: "ms",
      note: () => `${watchers} connections with server-sent events; from the script that finishes the run`,
      measure: async () => {
        const { ms, bytesEach } = await watchOne(records, port, watchers);
        memory.push([bytesEach / 1024]);
        return [ms];
      },
    };
    const measured = await interleave([end], { rounds, settleMs: SETTLE_MS }, say);
    const note = "resident memory of the gateway more than before, by the number of watchers, while all of them watch";
    return suiteReport([...measured, { name: "memory of each", unit: "KiB", note, rounds: memory }], []);
  });

async function watchOne(records: Records, port: number, count: number): Promise<{ ms: number; bytesEach: number }> {
  const pid = pidOn(port);
  const before = residentBytes(pid);
  const id = await records.start(TENANT, { image: "bench/nothing" });
  const open: Watcher[] = [];
  for (let i = 0; i < count; i++) open.push(new Watcher(id, port));
  await Promise.all(open.map((watcher) => watcher.begun));
  await records.write(id, 0, OUTPUT);
  await Promise.all(open.map((watcher) => watcher.heardOutput));
  const bytesEach = (residentBytes(pid) - before) / count;
  const start = performance.now();
  await records.finish(id);
  await Promise.all(open.map((watcher) => watcher.ended));
  return { ms: performance.now() - start, bytesEach };
}

/** Reads events as plainly as can be, so that not the reader is measured. */
class Watcher {
  readonly begun: Promise<unknown>;
  readonly heardOutput: Promise<void>;
  readonly ended: Promise<void>;
  readonly #socket: Socket;

  constructor(id: string, port: number) {
    this.#socket = connect(port, "127.0.0.1");
    this.#socket.write(`GET /v1/runs/${id}/events HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n\r\n`);
    const output = Promise.withResolvers<void>();
    const end = Promise.withResolvers<void>();
    [this.heardOutput, this.ended] = [output.promise, end.promise];
    this.begun = once(this.#socket, "data");
    let tail = "";
    this.#socket.on("data", (chunk) => {
      tail = (tail + chunk.toString("latin1")).slice(-8_192);
      if (tail.includes("event: stdout")) output.resolve();
      if (!tail.includes("event: end")) return;
      end.resolve();
      this.#socket.destroy();
    });
    this.#socket.on("error", end.reject);
  }
}

/** The gateway that was told to listen there. */
function pidOn(port: number): number {
  const wanted = `\0MAYFLY_LISTEN_PORT=${port}\0`;
  for (const name of readdirSync("/proc").filter((each) => /^\d+$/.test(each))) {
    try {
      if (`\0${readFileSync(`/proc/${name}/environ`, "latin1")}`.includes(wanted)) return Number(name);
    } catch {
      // It has ended meanwhile.
    }
  }
  throw new Error(`no gateway was told to listen on ${port}`);
}

function residentBytes(pid: number): number {
  return 1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}
