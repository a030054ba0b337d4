// Tickets for attempts that wait, as BullMQ jobs, one queue a pool. The only file of the gateway that knows BullMQ.

import { Job, Queue } from "bullmq";
import type { ChainableCommander, Redis } from "ioredis";
import { QUEUE_PREFIX, queueName } from "../../core/keys.ts";
import type { RunPlan } from "../../core/plan.ts";
import { type Ticket, ticketId } from "../../core/record.ts";

export class Tickets {
  readonly #redis: Redis;
  readonly #queues = new Map<string, Queue>();

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /**
   * Runs a script and adds a ticket, both or neither. The script may refuse; a ticket without a waiting attempt is harmless
   * (whoever takes it finds nothing to claim), and is removed by the caller. Answers what the script returned.
   */
  async addWith(
    script: readonly [lua: string, keyCount: number, ...(string | number | Buffer)[]],
    ticket: Ticket,
    plan: RunPlan,
    id = ticketId(ticket),
  ): Promise<unknown> {
    const queue = this.#queue(plan.pool);
    // BullMQ's own client wraps ours; its transaction is ioredis' with one method more, which addJob needs.
    const transaction = (await queue.backend.client).multi();
    const commander = transaction as unknown as ChainableCommander;
    commander.eval(...script);
    await new Job(queue, "run", ticket, jobOptions(id, plan), id).addJob(transaction);
    const results = await commander.exec();
    const [error, answer] = results?.[0] ?? [new Error("the transaction was discarded")];
    const ticketError = results?.[1]?.[0];
    if (error ?? ticketError) throw error ?? ticketError;
    return answer;
  }

  /** Best effort: a ticket that somebody holds is spent by whoever holds it. */
  async remove(id: string, pool: string): Promise<void> {
    await this.#queue(pool).remove(id);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#queues.values()].map((queue) => queue.close()));
  }

  #queue(pool: string): Queue {
    let queue = this.#queues.get(pool);
    if (!queue) {
      queue = new Queue(queueName(pool), { connection: this.#redis, prefix: QUEUE_PREFIX });
      queue.on("error", () => {}); // The connection is ours and reports its own errors.
      this.#queues.set(pool, queue);
    }
    return queue;
  }
}

export function ticketOf(run: string, attempt: number, { demand }: RunPlan): Ticket {
  return { run, attempt, demand };
}

function jobOptions(jobId: string, plan: RunPlan) {
  return { jobId, priority: plan.priority, removeOnComplete: true, removeOnFail: true };
}
