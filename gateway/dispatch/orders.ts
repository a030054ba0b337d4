// What the gateway tells a run while it goes on: its terminal's size, a signal. It has checked whose run it is; here is checked
// whether there is anybody to be told.

import type { Redis } from "ioredis";
import { formatOrder, type HostOrder, type RunSignal, type TerminalSize } from "../../core/control.ts";
import { MayflyError } from "../../core/errors.ts";
import { channels, transitionKeys } from "../../core/keys.ts";
import type { RunRecord } from "../../core/record.ts";
import { runTransition, transitions } from "../../core/transitions.ts";
import { onRedis } from "./redis.ts";

export class Orders {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** The size holds from now on, also for a run that waits for its host. Throws `no_terminal`, `run_not_running`. */
  async resize({ id, request }: RunRecord, { rows, columns }: TerminalSize): Promise<void> {
    if (!request.terminal) throw new MayflyError("no_terminal", "the run was made without a terminal");
    const size = JSON.stringify({ rows, columns });
    const [answer, host] = (await onRedis(this.#redis, () =>
      runTransition(this.#redis, transitions.resize, transitionKeys.resize(id), [size]),
    )) as ["set" | "over", string];
    if (answer === "over") throw notRunning("finished");
    if (host) await this.tell(host, { verb: "resize", run: id });
  }

  /** Passed on to the host if the program runs; a signal is never kept for later. Throws `run_not_running`. */
  async signal({ id, state, host }: RunRecord, signal: RunSignal): Promise<void> {
    if (state !== "running" || host === undefined) throw notRunning(state);
    await this.tell(host, { verb: "signal", run: id, signal });
  }

  /** Best effort: whether the host has heard it is not known here. */
  async tell(host: string, order: HostOrder): Promise<void> {
    await onRedis(this.#redis, () => this.#redis.publish(channels.host(host), formatOrder(order)));
  }
}

function notRunning(state: RunRecord["state"]): MayflyError {
  const message =
    state === "finished" ? "the run has finished" : `the run's program has not been started: it is ${state}`;
  return new MayflyError("run_not_running", message, { details: { state } });
}
