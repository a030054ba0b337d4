// What Redis tells this gateway: that a run has finished, that a run has changed. Best effort: whoever is woken without being
// told the whole reads the record, and after a lost connection everybody is woken.

import type { Redis } from "ioredis";
import { channels } from "../../core/keys.ts";
import { parseTold, type Told } from "../../core/told.ts";

/** With what was told of a run that has finished, if that was all of it. */
type Wake = (whole?: Told["whole"]) => void;

export class Signals {
  readonly #subscriber: Redis;
  readonly #gateway: string;
  readonly #wakes = new Map<string, Set<Wake>>();
  readonly #joined = new Map<string, Promise<unknown>>();

  constructor(subscriber: Redis, gatewayId: string) {
    this.#subscriber = subscriber;
    this.#gateway = channels.gateway(gatewayId);
    subscriber.on("messageBuffer", (channel: Buffer, message: Buffer) => this.#hear(channel.toString(), message));
    subscriber.on("ready", () => this.#wakeAll());
  }

  async start(): Promise<void> {
    await this.#subscriber.subscribe(this.#gateway);
  }

  /** Calls `wake` when the run has finished; only for runs that this gateway is a waiter of. Returns the way to stop. */
  onFinished(runId: string, wake: Wake): () => void {
    return this.#add(`finished ${runId}`, wake);
  }

  /** Calls `wake` at every change of the run. Resolves when it is listening; returns the way to stop. */
  async onChanged(runId: string, wake: Wake): Promise<() => void> {
    const channel = channels.changed(runId);
    const remove = this.#add(channel, wake);
    const stop = () => {
      remove();
      if (!this.#wakes.has(channel)) this.#leave(channel);
    };
    try {
      await this.#join(channel);
      return stop;
    } catch (error) {
      stop();
      throw error;
    }
  }

  /** Whoever comes second waits for the same subscription. */
  #join(channel: string): Promise<unknown> {
    const joined = this.#joined.get(channel) ?? this.#subscriber.subscribe(channel);
    this.#joined.set(channel, joined);
    return joined;
  }

  #leave(channel: string): void {
    if (!this.#joined.delete(channel)) return;
    this.#subscriber.unsubscribe(channel).catch(() => {}); // Gone with the connection.
  }

  #add(topic: string, wake: Wake): () => void {
    const wakes = this.#wakes.get(topic) ?? new Set();
    this.#wakes.set(topic, wakes.add(wake));
    return () => {
      wakes.delete(wake);
      if (wakes.size === 0 && this.#wakes.get(topic) === wakes) this.#wakes.delete(topic);
    };
  }

  #hear(channel: string, message: Buffer): void {
    if (channel !== this.#gateway) return this.#wake(channel);
    const told = parseTold(message);
    if (told) this.#wake(`finished ${told.id}`, told.whole);
  }

  #wake(topic: string, whole?: Told["whole"]): void {
    for (const wake of this.#wakes.get(topic) ?? []) wake(whole);
  }

  #wakeAll(): void {
    for (const wakes of this.#wakes.values()) for (const wake of wakes) wake();
  }
}
