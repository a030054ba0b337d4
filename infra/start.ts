// npm start: the whole stack in the foreground, until Ctrl-C, SIGTERM, or the end of one of its processes.
//
// It is also the process that stays when the quickstart is told to keep the stack: then it tells its progress to its parent,
// and goes on when the parent has left.

import { parseSwitches } from "./arguments.ts";
import { type Report, STAY } from "./kept.ts";
import { ProgressView } from "./progress.ts";
import { type Endpoints, Stack } from "./stack.ts";

const HELP = `npm start: Redis, a registry, a gateway and a worker on this machine, until Ctrl-C.

Settings are environment variables: MAYFLY_STATE_DIR (default /var/lib/mayfly), and those of the gateway and the worker,
such as MAYFLY_LISTEN_PORT or MAYFLY_SLOTS.
`;

const view = new ProgressView(process.stdout);

const stack = new Stack({
  env: process.env,
  onProgress: (progress) => {
    view.show(progress);
    report({ kind: "progress", progress });
  },
});

let isAsked = false;
let isToStay = false;
process.once("message", (message) => {
  isToStay = message === STAY;
});
process.once("disconnect", () => {
  if (!isToStay) void leave(); // The parent is gone without having said what is to become of us.
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => void leave());
process.on("uncaughtException", fail);
process.on("unhandledRejection", fail);

try {
  if (parseSwitches(process.argv.slice(2), ["--help"]).has("--help")) {
    process.stdout.write(HELP);
    process.exit(0);
  }
  const endpoints = await stack.start();
  view.print(welcome(endpoints));
  report({ kind: "ready", endpoints });
  await stack.watch();
} catch (error) {
  await fail(error);
}

/** Asked a second time, the stack is ended at once. */
async function leave(): Promise<void> {
  if (!isAsked) {
    view.clear();
    view.print("stopping; once more to stop at once");
  }
  isAsked = true;
  await stack.stop();
  process.exit(0);
}

async function fail(error: unknown): Promise<void> {
  if (isAsked) return; // What a stack that is being stopped complains of is its being stopped.
  isAsked = true;
  const message = error instanceof Error ? error.message : String(error);
  view.clear();
  process.stderr.write(`${message}\n`);
  await stack.stop();
  report({ kind: "failed", message });
  process.exit(1);
}

function report(message: Report): void {
  if (process.connected) process.send?.(message);
}

function welcome({ gateway, registry, stateDir }: Endpoints): string {
  const body = `{"image": "${registry}/busybox", "command": ["echo", "hello"]}`;
  return `
  gateway    ${gateway}
  its API    ${gateway}/docs
  registry   ${registry}, for images of your own
  logs       ${stateDir}/log

  curl ${gateway}/v1/runs -H 'content-type: application/json' -H 'prefer: wait=60' -d '${body}'

Ctrl-C stops it.`;
}
