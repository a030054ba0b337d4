// Wakes one waiting loop. A ring while nobody waits is kept, so that a loop which looks first and then waits misses nothing.

export class Bell {
  #rung = false;
  #answer: (() => void) | undefined;

  ring(): void {
    this.#rung = true;
    this.#answer?.();
  }

  /** Resolves at the next ring, or at once if there was one since the last time. One waiter at a time. */
  async wait(): Promise<void> {
    if (!this.#rung) await new Promise<void>((resolve) => (this.#answer = resolve));
    this.#rung = false;
  }
}
