// npm run quickstart: from nothing to the output of a fresh container, and nothing left running unless asked for.

import { join } from "node:path";
import { parseSwitches } from "./arguments.ts";
import { type Answered, curlFor, phaseTable, runOnce, textOf } from "./first-run.ts";
import { pushBusybox } from "./image.ts";
import { KeptStack } from "./kept.ts";
import { ProgressView } from "./progress.ts";
import { type Endpoints, Stack, stateDirectory } from "./stack.ts";

const HELP = `npm run quickstart [-- --keep]: brings up Redis, a registry, a gateway and a worker on this machine, makes a small image,
runs a container from it through the HTTP API, and stops everything again.

  --keep   leaves it all running
  --help   says this

Settings are environment variables: MAYFLY_STATE_DIR (default /var/lib/mayfly), and those of the gateway and the worker,
such as MAYFLY_LISTEN_PORT or MAYFLY_SLOTS.
`;

const COMMAND = ["sh", "-c", "echo Hello from a fresh container; id; uname -n"];

const view = new ProgressView(process.stdout);
const print = (text: string) => view.print(text);

let stack: Stack | KeptStack | undefined;
let isFailing = false;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
  process.on(signal, () => void fail(new Error(`stopped by ${signal}`)));
process.on("uncaughtException", fail);
process.on("unhandledRejection", fail);

try {
  const switches = parseSwitches(process.argv.slice(2), ["--keep", "--help"]);
  if (switches.has("--help")) print(HELP.trimEnd());
  else await quickstart(switches.has("--keep"));
  process.exit(0);
} catch (error) {
  await fail(error);
}

async function quickstart(isKept: boolean): Promise<void> {
  const options = { env: process.env, onProgress: view.show.bind(view) };
  const kept = isKept ? new KeptStack(options) : undefined;
  stack = kept ?? new Stack(options);
  const endpoints = await stack.start();
  const image = await makeImage(endpoints);
  await showRuns(endpoints, image);
  if (kept) {
    await kept.leave();
    print(farewell(endpoints, kept.pid));
  } else {
    await stack.stop();
    print("Everything is stopped. `npm start` keeps it running, and so does `npm run quickstart -- --keep`.");
  }
}

async function makeImage({ registry, stateDir }: Endpoints): Promise<string> {
  const start = performance.now();
  view.show({ kind: "begin", step: "image" });
  const reference = await pushBusybox({ registry, directory: join(stateDir, "image") });
  view.show({ kind: "done", step: "image", ms: performance.now() - start, detail: reference });
  return reference;
}

/** The first run has to fetch the image; the second shows what a run costs from then on. */
async function showRuns({ gateway }: Endpoints, image: string): Promise<void> {
  const body = { image, command: COMMAND };
  print(`\nA run, as curl would ask for it:\n\n${indented(curlFor(gateway, body))}\n`);
  const first = await runOnce(gateway, body);
  print(`What it printed, and how it ended:\n\n${indented(told(first))}\n`);
  const second = await runOnce(gateway, body);
  print(`Where the time went, and where it goes once the image is here:\n\n${indented(phaseTable(first, second))}\n`);
}

function told({ run }: Answered): string {
  return `${textOf(run.stdout)}${textOf(run.stderr)}${run.id} exited ${run.outcome?.exitCode}`;
}

function farewell({ gateway, registry, stateDir }: Endpoints, pid: number | undefined): string {
  return [
    `gateway    ${gateway}   (its API: ${gateway}/docs)`,
    `registry   ${registry}`,
    `logs       ${stateDir}/log`,
    `to stop    kill ${pid}`,
  ].join("\n");
}

function indented(text: string): string {
  return text.trimEnd().replaceAll(/^/gm, "    ");
}

/** Called again, by a second Ctrl-C perhaps, it ends at once what it is waiting for. */
async function fail(error: unknown): Promise<void> {
  if (!isFailing) {
    view.clear();
    process.stderr.write(`\nThe quickstart failed: ${error instanceof Error ? error.message : String(error)}\n`);
    if (stack) process.stderr.write(`The logs are in ${stateDirectory(process.env)}/log\n`);
  }
  isFailing = true;
  await stack?.stop();
  process.exit(1);
}
