// One run through the HTTP API, and what it says to a person.

import { send } from "./http.ts";

export const PHASES = ["queue", "pull", "prepare", "start", "run", "collect"] as const;

/** What the caller waits for the run, and how much longer for the answer. */
const WAIT_S = 60;
const LIMIT_MS = 75_000;

export interface RunBody {
  readonly image: string;
  readonly command: readonly string[];
}

interface Output {
  readonly encoding: "utf8" | "base64";
  readonly data: string;
}

/** The parts of a finished run that are shown. */
export interface FinishedRun {
  readonly id: string;
  readonly outcome?: { readonly kind: string; readonly exitCode?: number };
  readonly stdout?: Output;
  readonly stderr?: Output;
  readonly receipt?: { readonly phases: Readonly<Record<string, number>> };
}

export interface Answered {
  readonly run: FinishedRun;
  /** From the request to the last byte of the answer. */
  readonly ms: number;
}

/** Rejects, saying why, unless the run's program exited 0. */
export async function runOnce(gateway: string, body: RunBody): Promise<Answered> {
  const headers = { "content-type": "application/json", prefer: `wait=${WAIT_S}` };
  const start = performance.now();
  const answer = await send(`${gateway}/v1/runs`, {
    method: "POST",
    headers,
    body: JSON.stringify(body),
    limitMs: LIMIT_MS,
  });
  const ms = performance.now() - start;
  if (answer.status === 202) throw new Error(`the run was not over within ${WAIT_S} s: ${answer.body}`);
  if (answer.status !== 200) throw new Error(`POST /v1/runs was answered ${answer.status}: ${answer.body}`);
  const run = JSON.parse(answer.body) as FinishedRun;
  if (run.outcome?.kind !== "exited" || run.outcome.exitCode !== 0) {
    throw new Error(`the run ended with ${JSON.stringify(run.outcome)}; its stderr: ${textOf(run.stderr)}`);
  }
  return { run, ms };
}

/** The same request for a shell. */
export function curlFor(gateway: string, body: RunBody): string {
  return [
    `curl ${gateway}/v1/runs \\`,
    `  -H 'content-type: application/json' -H 'prefer: wait=${WAIT_S}' \\`,
    `  -d '${JSON.stringify(body).replaceAll("'", `'\\''`)}'`,
  ].join("\n");
}

export function textOf(output: Output | undefined): string {
  return output ? Buffer.from(output.data, output.encoding).toString("utf8") : "";
}

/** The phases of both runs side by side, in ms, and what the caller waited in all. */
export function phaseTable(first: Answered, second: Answered): string {
  const row = (name: string, ...cells: string[]) => name.padEnd(10) + cells.map((cell) => cell.padStart(10)).join("");
  const ms = (value: number | undefined) => (value === undefined ? "-" : value.toFixed(1));
  const phases = PHASES.map((phase) => row(phase, ...[first, second].map(({ run }) => ms(run.receipt?.phases[phase]))));
  return [row("ms", "first", "second"), ...phases, row("in all", ms(first.ms), ms(second.ms))].join("\n");
}
