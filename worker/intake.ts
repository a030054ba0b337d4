// The attempts that this life of the worker has been given (offers.ts). Each is held once.

import type { RunRecord } from "../core/record.ts";
import { attemptName } from "../core/record.ts";
import type { Attempt } from "./run-store.ts";

/** Resolves when nothing of the attempt is left on this host. Never rejects. */
export type Execute = (record: RunRecord, takenAtMs: number) => Promise<void>;

export class Intake {
  readonly #execute: Execute;
  readonly #held = new Set<string>();
  readonly #executing = new Set<Promise<void>>();

  constructor(execute: Execute) {
    this.#execute = execute;
  }

  holds({ id, attempt }: Attempt): boolean {
    return this.#held.has(attemptName({ id, attempt }));
  }

  /**
   * Undefined if the attempt is here already: it may be heard of twice, but it must not be started twice. Returns the way to let go
   * of it.
   */
  hold({ id, attempt }: Attempt): (() => void) | undefined {
    const name = attemptName({ id, attempt });
    if (this.#held.has(name)) return undefined;
    this.#held.add(name);
    return () => void this.#held.delete(name);
  }

  /** `letGo` is called when nothing of the attempt is left here. */
  start(record: RunRecord, takenAtMs: number, letGo: () => void): void {
    const execution = this.#execute(record, takenAtMs).finally(letGo);
    this.#executing.add(execution);
    void execution.finally(() => this.#executing.delete(execution));
  }

  /** Resolves when all that was started has come to its end. */
  async idle(): Promise<void> {
    await Promise.all(this.#executing);
  }
}
