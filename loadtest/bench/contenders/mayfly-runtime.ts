// Mayfly's runtime alone: createRuntime, openSandbox, ended. No gateway, no queue, no records.

import { summarize } from "../figures.ts";
import type { Burst, Pace } from "../native.ts";
import { BLANKS, NO_BLANKS } from "../settings.ts";
import type { Subject } from "../subject.ts";
import type { Workshop } from "../workshop.ts";
import type { Contender } from "./contender.ts";
import type { Workload } from "./runtime-calls.ts";
import { RuntimeClient } from "./runtime-client.ts";

export const openMayflyRuntime = (workshop: Workshop) => MayflyRuntime.open(workshop, true);
export const openMayflyRuntimeCold = (workshop: Workshop) => MayflyRuntime.open(workshop, false);

class MayflyRuntime implements Contender {
  readonly maxParallel: number;
  readonly #client: RuntimeClient;
  readonly #what: string;
  readonly #removalMs: number[] = [];

  private constructor(client: RuntimeClient, what: string, maxParallel: number) {
    this.#client = client;
    this.#what = what;
    this.maxParallel = maxParallel;
  }

  static async open(workshop: Workshop, isWarm: boolean): Promise<MayflyRuntime> {
    const client = new RuntimeClient();
    try {
      const { driver } = await client.create(workshop, isWarm ? BLANKS : NO_BLANKS);
      const blanks = driver === "launcher" ? (isWarm ? "a blank ready" : "no blanks") : "this driver makes no blanks";
      // Under load there is no difference: blanks are used up at once.
      return new MayflyRuntime(client, `driver ${driver}, ${blanks}`, isWarm ? 128 : 0);
    } catch (error) {
      await client.stop();
      throw error;
    }
  }

  get note(): string {
    const removal =
      this.#removalMs.length > 0 ? ` (removal goes on for ${summarize(this.#removalMs).p50} ms, p50)` : "";
    return `openSandbox to ended${removal}; ${this.#what}`;
  }

  async prepare(subject: Subject): Promise<void> {
    await this.#client.call("start", { workload: workloadOf(subject), pace: { count: 1, pauseMs: 0 } });
    await this.#client.call("ready", null);
  }

  async start(subject: Subject, pace: Pace): Promise<readonly number[]> {
    const { ms, removalMs } = await this.#client.call("start", { workload: workloadOf(subject), pace });
    this.#removalMs.push(...removalMs);
    return ms;
  }

  load(subject: Subject, burst: Burst): Promise<number> {
    return this.#client.call("load", { workload: workloadOf(subject), burst });
  }

  close(): Promise<void> {
    return this.#client.stop();
  }
}

export function workloadOf({ name, reference, argv }: Subject): Workload {
  return { name, reference, argv };
}
