// So many at a time for each name, the others in line: how the connections to one server are bounded.
//
// The line is ours and not the HTTP client's, because a time limit must begin when a request is sent, and not while it waits
// behind the downloads of others.

import { MayflyError } from "../../core/errors.ts";

/** A host has fewer runs than that, and a run asks for a few layers at a time. */
const MAX_WAITING = 1024;

interface Line {
  taken: number;
  readonly waiting: Set<() => void>;
}

export class Turns {
  readonly #lines = new Map<string, Line>();
  readonly #atOnce: number;

  constructor(atOnce: number) {
    this.#atOnce = atOnce;
  }

  /**
   * Resolves when it is this caller's turn, with the function that gives the turn back, which may be called again.
   * Rejects with the signal's reason, or with `registry_unavailable` when the line is full.
   */
  async take(name: string, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    const line = this.#lines.get(name) ?? { taken: 0, waiting: new Set() };
    this.#lines.set(name, line);
    if (line.taken < this.#atOnce) line.taken++;
    else await stand(name, line, signal);
    let isGiven = false;
    return () => {
      if (!isGiven) this.#giveBack(name, line);
      isGiven = true;
    };
  }

  /** The turn passes to the next in line without being free in between. */
  #giveBack(name: string, line: Line): void {
    const [next] = line.waiting;
    if (next) return next();
    line.taken--;
    if (line.taken === 0) this.#lines.delete(name);
  }
}

function stand(name: string, { waiting }: Line, signal: AbortSignal): Promise<void> {
  if (waiting.size >= MAX_WAITING) {
    throw new MayflyError("registry_unavailable", `${name}: ${MAX_WAITING} requests wait for a connection already`);
  }
  return new Promise((resolve, reject) => {
    const leave = () => {
      waiting.delete(come);
      reject(signal.reason);
    };
    const come = () => {
      waiting.delete(come);
      signal.removeEventListener("abort", leave);
      resolve();
    };
    waiting.add(come);
    signal.addEventListener("abort", leave, { once: true });
  });
}
