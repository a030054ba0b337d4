// Runs that were to be tried again and have failed for good. Each can be run once more: as a new run, that says whose it is.

import { isMayflyError, MayflyError } from "../../core/errors.ts";
import { RunFiles } from "../../core/files.ts";
import { DEAD_LETTERS } from "../../core/index-parts.ts";
import type { RunRecord } from "../../core/record.ts";
import type { RunRequest } from "../../core/request.ts";
import type { Page } from "./lists.ts";
import type { RunStore } from "./run-store.ts";

export interface Retried {
  readonly deadLetter: string;
  readonly run: string;
}

export interface Sweep {
  readonly retried: Retried[];
  /** They stay where they are. */
  readonly failed: { readonly deadLetter: string; readonly error: MayflyError }[];
  readonly next: string | undefined;
}

export class DeadLetters {
  readonly #store: RunStore;

  constructor(store: RunStore) {
    this.#store = store;
  }

  list(tenant: string, page: Page): Promise<{ records: RunRecord[]; next: string | undefined }> {
    return this.#store.lists.page({ tenant }, { onlyDeadLetters: true }, page);
  }

  /**
   * Makes a new run of what was asked for then, without its delay, and takes the old one off the list. A retry that was broken off, or that
   * two ask for at once, makes one run: the dead letter's id is its idempotency key. Throws `dead_letter_not_found`, and as `submit` does.
   */
  async retry(record: RunRecord): Promise<Retried> {
    const { id, tenant } = record;
    if (!(await this.#store.kept.isDeadLetter(record))) throw notThere(id);
    const request = await this.#requestOf(record);
    // No caller can have this key: a header has no NUL.
    const idempotencyKey = `\0${DEAD_LETTERS} ${id}`;
    const run = await this.#store.submit({ tenant, request, waiter: undefined, idempotencyKey, retriedFrom: id });
    await this.#store.kept.dismiss(record);
    return { deadLetter: id, run };
  }

  /**
   * One page of them, newest first. Goes no further where there is no room for more, and throws if there was none for the first. `admit`
   * throws for what may not be run any more.
   */
  async retryPage(tenant: string, page: Page, admit: (record: RunRecord) => RunRecord): Promise<Sweep> {
    const { records, next } = await this.list(tenant, page);
    const sweep = { retried: [] as Retried[], failed: [] as Sweep["failed"] };
    let last = page.cursor;
    for (const record of records) {
      try {
        sweep.retried.push(await this.retry(admit(record)));
      } catch (error) {
        if (!isMayflyError(error)) throw error;
        const isFull = error.code === "resource_exhausted" || error.code === "unavailable";
        if (isFull && sweep.retried.length === 0) throw error;
        if (isFull) return { ...sweep, next: last };
        if (error.reason !== "dead_letter_not_found") sweep.failed.push({ deadLetter: record.id, error });
      }
      last = record.id;
    }
    return { ...sweep, next };
  }

  /** The run itself is kept as long as any. Throws `dead_letter_not_found`. */
  async dismiss(record: RunRecord): Promise<void> {
    if (!(await this.#store.kept.dismiss(record))) throw notThere(record.id);
  }

  /** With its input and its files, which were kept for this. */
  async #requestOf({ id, request }: RunRecord): Promise<RunRequest> {
    const { kept } = this.#store;
    const { delay: _, notBefore: __, ...rest } = request;
    const files = request.files && (await kept.filesOf(id));
    const input = request.stdin === undefined ? undefined : await kept.inputOf(id);
    return {
      ...rest,
      ...(files === undefined ? {} : { files: RunFiles.parse(JSON.parse(files)) }),
      ...(input === undefined ? {} : { stdin: { base64: input.toString("base64") } }),
    };
  }
}

function notThere(id: string): MayflyError {
  return new MayflyError("dead_letter_not_found", `${id} is not among the dead letters`, { details: { run: id } });
}
