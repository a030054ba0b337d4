// One call through a queue, whichever it is: from before it is enqueued until its reply is here.

export interface QueueClient {
  call(): Promise<void>;
  close(): Promise<void>;
}

export const QUEUES = ["bullmq", "mayfly-queue"] as const;
export type QueueName = (typeof QUEUES)[number];
