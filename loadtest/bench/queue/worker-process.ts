// The worker's process of either queue: `worker-process.ts QUEUE REDIS_URL_FILE`. Says `ready` to its parent, and ends with it.

import { readFileSync } from "node:fs";
import { serveBareBullmq } from "./bare-bullmq.ts";
import { serveMayflyQueue } from "./mayfly-worker.ts";
import { QUEUES, type QueueName } from "./queue-client.ts";

const SERVE: Readonly<Record<QueueName, (url: string) => Promise<void>>> = {
  bullmq: serveBareBullmq,
  "mayfly-queue": serveMayflyQueue,
};

const [name, urlFile = ""] = process.argv.slice(2);
const queue = QUEUES.find((each) => each === name);
if (!queue) throw new Error(`there is no queue ${name}; there are ${QUEUES.join(", ")}`);
process.on("disconnect", () => process.exit(0));
await SERVE[queue](readFileSync(urlFile, "utf8").trim());
process.send?.("ready");
