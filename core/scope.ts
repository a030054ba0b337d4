// One owner for everything that a half-made thing has opened: closed in reverse, once, whatever fails on the way.

export type Cleanup = () => void | Promise<void>;

/** What could not be cleaned, and why. The work is over by then, so it is reported, never thrown. */
export interface CleanupFailure {
  readonly name: string;
  readonly error: unknown;
}

/**
 * Collects clean-ups and runs them in reverse order on `close`.
 * `close` is idempotent (later callers get the first one's answer) and never throws: it returns what failed.
 * Adding to a scope that is already closing is a bug and throws.
 */
export class Scope {
  #cleanups: { name: string; run: Cleanup }[] = [];
  #closing: Promise<CleanupFailure[]> | undefined;

  /** The name appears in the report should this clean-up fail. */
  add(name: string, run: Cleanup): void {
    if (this.#closing) throw new Error(`scope is closed: ${name}`);
    this.#cleanups.push({ name, run });
  }

  close(): Promise<CleanupFailure[]> {
    this.#closing ??= this.#runAll();
    return this.#closing;
  }

  async #runAll(): Promise<CleanupFailure[]> {
    const failures: CleanupFailure[] = [];
    for (const { name, run } of this.#cleanups.reverse()) {
      try {
        await run();
      } catch (error) {
        failures.push({ name, error });
      }
    }
    return failures;
  }
}
