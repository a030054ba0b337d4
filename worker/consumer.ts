// Takes runs off the queue, while there is room for them. The only file of the worker that knows BullMQ.
//
// A BullMQ job is a ticket: it says that an attempt waits, and is spent as soon as the run's record is claimed. The record,
// not the job, is the truth; a ticket that comes twice, or late, claims nothing and is thrown away.

import { setTimeout as delay, setImmediate as immediate } from "node:timers/promises";
import { type Job, Worker } from "bullmq";
import type { Redis } from "ioredis";
import { Bell } from "../core/bell.ts";
import { monotonicMs } from "../core/clock.ts";
import { QUEUE_PREFIX, queueName } from "../core/keys.ts";
import type { Log } from "../core/log.ts";
import { Ticket } from "../core/record.ts";
import type { Ledger, Share } from "./admission.ts";
import type { Intake } from "./intake.ts";
import type { Offers } from "./offers.ts";
import type { RunStore } from "./run-store.ts";

/** A run that this host can never hold is put back for others, and looked at again by anybody after this. */
const TOO_LARGE_DELAY_MS = 1_000;
/** Long enough for a host that waits to take the run: it needs a few milliseconds. */
const LOOK_AWAY_MS = 100;
/** Of how many tickets it is remembered that they were put aside; after that all are forgotten, which costs a delay. */
const MAX_PASSED = 1_000;
/** After a failed fetch. BullMQ and ioredis reconnect by themselves; this only keeps the loop from spinning meanwhile. */
const FETCH_RETRY_MS = 200;

export interface ConsumerOptions {
  readonly redis: Redis;
  readonly pool: string;
  readonly hostId: string;
  readonly incarnation: string;
  readonly ledger: Ledger;
  readonly store: RunStore;
  readonly intake: Intake;
  /** What the host has left with each ticket that it takes is offered. */
  readonly offers: Pick<Offers, "room" | "news">;
  readonly log: Log;
}

export class Consumer {
  readonly #options: ConsumerOptions;
  readonly #worker: Worker;
  /** Tickets that were put aside here once. */
  readonly #passed = new Set<string>();
  readonly #stopped = new AbortController();
  /** Rung when a share is given back, and at the end. A race with a promise that lasts would leave something in it each time. */
  readonly #vacated = new Bell();
  #loop: Promise<void> | undefined;
  #closed: Promise<void> | undefined;
  #stopping = false;

  constructor(options: ConsumerOptions) {
    this.#options = options;
    // No processor and no run(): tickets are fetched by hand, because BullMQ's concurrency knows nothing of memory.
    this.#worker = new Worker(queueName(options.pool), null, {
      connection: options.redis,
      prefix: QUEUE_PREFIX,
      autorun: false,
      // A ticket that is fetched but not spent (the worker died in between) is handed out again.
      maxStalledCount: 1_000,
      removeOnComplete: { count: 0 },
      removeOnFail: { count: 0 },
    });
    this.#worker.on("error", (error) => options.log.warn("queue.error", { error }));
  }

  async start(): Promise<void> {
    await this.#worker.waitUntilReady();
    await this.#worker.startStalledCheckTimer();
    this.#loop = this.#consume();
  }

  /** Takes nothing more from now on. Forced: BullMQ would wait without limit for jobs that are none of its own. */
  stop(): void {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#stopped.abort();
    this.#vacated.ring();
    this.#closed = this.#worker.close(true).catch((error) => this.#options.log.warn("queue.error", { error }));
  }

  /** After `stop`: resolves when all that was taken has been executed. */
  async idle(): Promise<void> {
    await this.#loop; // A fetch that was under way may still take one.
    await this.#options.intake.idle();
  }

  /** Only when idle. */
  async close(): Promise<void> {
    this.stop();
    await this.#closed;
  }

  async #consume(): Promise<void> {
    while (!this.#stopping) {
      if (this.#options.ledger.free.slots < 1) await this.#vacancy();
      else await this.#takeOne().catch((error) => this.#pause(error));
    }
  }

  async #takeOne(): Promise<void> {
    const { incarnation, ledger, log } = this.#options;
    const job = await this.#worker.getNextJob(incarnation);
    if (!job) return;
    const ticket = Ticket.safeParse(job.data);
    if (!ticket.success) {
      log.error("ticket.unreadable", { job: job.id });
      return this.#spend(job);
    }
    if (this.#stopping || !ledger.isOpen) return this.#handBack(job);
    if (!ledger.couldEverHold(ticket.data.demand)) return this.#passOn(job);
    const share = ledger.take(ticket.data.demand);
    if (share) return this.#claim(job, ticket.data, share);
    // First come, first served: this host takes nothing smaller before it, and other hosts may have it.
    const vacancy = this.#vacancy(); // Room that is made while the ticket goes back counts, too.
    await this.#handBack(job);
    await vacancy;
  }

  async #claim(job: Job, { run, attempt }: Ticket, share: Share): Promise<void> {
    const { store, hostId, pool, log, intake, offers } = this.#options;
    const release = intake.hold({ id: run, attempt });
    if (!release) {
      share();
      return this.#spend(job);
    }
    const letGo = () => {
      release();
      share();
    };
    const takenAtMs = monotonicMs();
    try {
      const record = await store.claim({ id: run, attempt }, hostId, pool, offers.room);
      if (record === "busy") {
        letGo();
        const news = offers.news();
        await this.#handBack(job);
        return await news;
      }
      if (record) {
        intake.start(record, takenAtMs, letGo);
      } else letGo();
    } catch (error) {
      letGo(); // The ticket stays with BullMQ, which hands it out again.
      throw error;
    }
    // The run is on its way before anything else is done here: the launcher works while this process does BullMQ's bookkeeping.
    await immediate();
    // Not awaited: whether BullMQ hears of it now or hands the ticket out again, the record decides.
    this.#spend(job).catch((error) => log.warn("ticket.unspent", { job: job.id, error }));
  }

  /** The next share that is given back, or the end. */
  async #vacancy(): Promise<void> {
    void this.#options.ledger.vacated().then(() => this.#vacated.ring());
    await this.#vacated.wait();
  }

  async #spend(job: Job): Promise<void> {
    await job.moveToCompleted(null, this.#options.incarnation, false);
  }

  async #handBack(job: Job): Promise<void> {
    await job.moveToWait(this.#options.incarnation);
  }

  /**
   * A run that this host can never hold: put aside for a while the first time, so that what is behind it is not kept. When it
   * comes here again it goes back at once, and this host looks away, so that a larger one is sure to be first.
   */
  async #passOn(job: Job): Promise<void> {
    const id = String(job.id);
    if (this.#passed.delete(id)) {
      await this.#handBack(job);
      await delay(LOOK_AWAY_MS, undefined, { signal: this.#stopped.signal }).catch(() => {}); // Stopped: nothing more is taken.
      return;
    }
    if (this.#passed.size >= MAX_PASSED) this.#passed.clear();
    this.#passed.add(id);
    await job.moveToDelayed(Date.now() + TOO_LARGE_DELAY_MS, this.#options.incarnation);
  }

  async #pause(error: unknown): Promise<void> {
    if (this.#stopping) return;
    this.#options.log.warn("queue.fetch_failed", { error });
    await delay(FETCH_RETRY_MS);
  }
}
