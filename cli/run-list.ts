// The runs of a tenant, newest first, as far as they are asked for: a page is fetched when the one before has been used up.
//
//   for await (const run of mayfly.runs.list({ state: "running" })) …

import type { Run, RunState } from "../core/run.ts";
import type { RunPage } from "./answers.ts";
import type { Client } from "./client.ts";

export interface RunListOptions {
  readonly state?: RunState | undefined;
  /** Runs in one answer, 1 to 500; 100 by default. The list goes on after them. */
  readonly pageSize?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

const PAGE = 100;

/** May be gone through more than once: each time it is fetched anew. */
export class RunList implements AsyncIterable<Run> {
  readonly #listRuns: Client["listRuns"];
  readonly #options: RunListOptions;

  constructor(listRuns: Client["listRuns"], options: RunListOptions) {
    this.#listRuns = listRuns;
    this.#options = options;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Run, void> {
    for await (const { runs } of this.pages()) yield* runs;
  }

  /** A page may have fewer runs than were asked for, or none, and still be followed by another. */
  async *pages(): AsyncGenerator<RunPage, void> {
    const { state, pageSize: limit = PAGE, signal } = this.#options;
    let cursor: string | undefined;
    do {
      const page = await this.#listRuns({ state, limit, cursor, signal });
      yield page;
      cursor = page.next;
    } while (cursor !== undefined);
  }
}
