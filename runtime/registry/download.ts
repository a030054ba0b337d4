// A blob as one unbroken stream, though connections break and mirrors fail: what is missing is asked for again.
//
//   source 1 ── bytes 0-99, then the connection is lost ── bytes=100- ── lost again, no progress … given up
//   source 2 ── bytes=100- ── to the end
//
// Whether they are the right bytes is for the reader to check, who hashes them anyway.

import { setTimeout as sleep } from "node:timers/promises";
import { isMayflyError, MayflyError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import type { Answer } from "./answer.ts";
import { type BlobDescriptor, bytesToSkip, rangeHeaders, strongTag, wrong } from "./range.ts";
import { TooSlowError } from "./rate-floor.ts";
import type { Source, Sources } from "./sources.ts";
import type { Headings } from "./transport.ts";

/** One after the other without a new byte, from one source: it does not get better. */
const MAX_STALLS = 2;

/** Of one blob in all: a connection that brings a little each time must end at some time too. */
const MAX_RESUMES = 20;

export interface DownloadOptions {
  /** See Sources.of. */
  readonly candidates: readonly Source[];
  readonly sources: Pick<Sources, "failed">;
  /** Answers 200 or 206. */
  readonly ask: (source: Source, headers: Headings) => Promise<Answer>;
  /** Before a connection that was lost is made again. */
  readonly resumeDelayMs: number;
  readonly log: Log;
  readonly signal: AbortSignal;
}

export class Download {
  readonly #blob: BlobDescriptor;
  readonly #options: DownloadOptions;
  readonly #contributors = new Set<Source>();
  #candidate = 0;
  #received = 0;
  #skip = 0;
  #stalls = 0;
  #resumes = 0;
  #etag: string | undefined;
  #chunks: AsyncGenerator<Uint8Array> | undefined;

  constructor(blob: BlobDescriptor, options: DownloadOptions) {
    this.#blob = blob;
    this.#options = options;
  }

  /** Who sent some of the bytes. */
  get contributors(): ReadonlySet<Source> {
    return this.#contributors;
  }

  /** Resolves when a source has begun to send what is missing; rejects with the last one's error. */
  async open(): Promise<void> {
    for (;;) {
      const source = this.#source();
      try {
        return await this.#openAt(source);
      } catch (error) {
        this.#nextSource(source, error);
      }
    }
  }

  /** To be read once, after `open`. `registry_unavailable` when no source can go on; `image_corrupt` for more bytes than `size`. */
  async *bytes(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const before = this.#received;
      const lost = yield* this.#rest();
      if (lost === undefined) return;
      await this.#resume(lost, this.#received > before);
    }
  }

  #source(): Source {
    const source = this.#options.candidates[this.#candidate];
    if (!source) throw new Error("no source is the last");
    return source;
  }

  /** A tag is one server's own: another one does not know it. */
  #nextSource(source: Source, error: unknown): void {
    this.#options.sources.failed(source, error, this.#options.signal);
    this.#candidate++;
    this.#stalls = 0;
    this.#etag = undefined;
  }

  async #openAt(source: Source): Promise<void> {
    const from = this.#received;
    const answer = await this.#options.ask(source, rangeHeaders(from, this.#etag));
    try {
      this.#skip = bytesToSkip(answer, this.#blob, { from, etag: this.#etag });
    } catch (error) {
      await answer.discard();
      throw error;
    }
    this.#etag = strongTag(answer);
    this.#contributors.add(source);
    this.#chunks = answer.chunks();
  }

  /** What the present answer brings. Returns why it brought no more, or undefined when the blob is whole. */
  async *#rest(): AsyncGenerator<Uint8Array, unknown> {
    try {
      for await (const chunk of this.#chunks ?? []) {
        const fresh = this.#fresh(chunk);
        if (fresh.byteLength > 0) yield fresh;
      }
    } catch (error) {
      if (!isLost(error)) throw error;
      return this.#isWhole() ? undefined : error;
    }
    return this.#isWhole() ? undefined : this.#endedShort();
  }

  #isWhole(): boolean {
    return this.#received === this.#blob.size;
  }

  #fresh(chunk: Uint8Array): Uint8Array {
    const fresh = this.#skip === 0 ? chunk : chunk.subarray(this.#skip);
    this.#skip = Math.max(0, this.#skip - chunk.byteLength);
    if (this.#received + fresh.byteLength > this.#blob.size) throw wrong(this.#blob, "the registry sends more");
    this.#received += fresh.byteLength;
    return fresh;
  }

  #endedShort(): MayflyError {
    const { digest, size } = this.#blob;
    return new MayflyError("registry_unavailable", `blob ${digest} ended after ${this.#received} of ${size} bytes`);
  }

  async #resume(lost: unknown, hasProgressed: boolean): Promise<void> {
    const { resumeDelayMs, signal, log } = this.#options;
    const source = this.#source();
    this.#stalls = hasProgressed ? 0 : this.#stalls + 1;
    if (++this.#resumes > MAX_RESUMES) throw lost;
    if (this.#stalls > MAX_STALLS || isTooSlow(lost)) this.#nextSource(source, lost);
    else await sleep(resumeDelayMs, undefined, { signal }).catch(() => signal.throwIfAborted());
    await this.open();
    log.warn("registry.resumed", {
      host: this.#source().repository.host,
      digest: this.#blob.digest,
      fromByte: this.#received,
      error: lost,
    });
  }
}

function isLost(error: unknown): boolean {
  return isMayflyError(error) && error.reason === "registry_unavailable";
}

function isTooSlow(error: unknown): boolean {
  return isMayflyError(error) && error.cause instanceof TooSlowError;
}
