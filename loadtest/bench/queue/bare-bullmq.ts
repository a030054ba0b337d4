// The measure for Mayfly's queue: BullMQ as it comes, with a reply by a pub/sub channel. Nothing is recorded, nothing leased,
// nobody fenced off. The only file of the benchmark that knows BullMQ and ioredis.

import { Queue, Worker } from "bullmq";
import { Redis } from "ioredis";
import { withLimit } from "../../../infra/wait.ts";
import type { QueueClient } from "./queue-client.ts";

const NAME = "bare";
const LIMIT_MS = 10_000;

const connect = (url: string) => new Redis(url, { maxRetriesPerRequest: null });

/** Resolves when it takes jobs. What a job does is nothing; that it was done is published to the channel it names. */
export async function serveBareBullmq(url: string): Promise<void> {
  const replies = connect(url);
  const worker = new Worker(NAME, async (job) => void (await replies.publish(job.data.channel, String(job.id))), {
    connection: connect(url),
  });
  await worker.waitUntilReady();
}

export async function openBareBullmq(url: string): Promise<QueueClient> {
  const connection = connect(url);
  const subscriber = connect(url);
  const queue = new Queue(NAME, { connection });
  const waiting = new Map<string, () => void>();
  const channel = `bare-replies-${process.pid}`;
  subscriber.on("message", (_, id: string) => waiting.get(id)?.());
  await subscriber.subscribe(channel);
  let serial = 0;
  return {
    async call() {
      const jobId = `job-${++serial}`;
      const replied = new Promise<void>((resolve) => waiting.set(jobId, resolve));
      await queue.add("call", { channel }, { jobId, removeOnComplete: true, removeOnFail: true });
      await withLimit(replied, LIMIT_MS, () => new Error(`no reply within ${LIMIT_MS / 1000} s`));
      waiting.delete(jobId);
    },
    async close() {
      await queue.close();
      for (const redis of [connection, subscriber]) redis.disconnect();
    },
  };
}
