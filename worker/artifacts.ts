// What a run leaves: a tar that comes out of its container, read as any stranger's, and kept as a tar of this process' own writing.
//
// Whatever becomes of the artifacts, the run's outcome is not theirs: what cannot be had is counted, and told as left out.

import { createHash } from "node:crypto";
import { ARTIFACT_BOUNDS, type ArtifactFacts, isArtifactName, type StoredArtifact } from "../core/artifacts.ts";
import { paddingOf } from "../core/tar-header.ts";
import { readTar, type TarEntry, type TarRules } from "../core/tar-reader.ts";
import { headOf } from "../core/tar-writer.ts";
import type { Sandbox, SandboxArtifacts } from "../runtime/index.ts";
import type { Ending } from "./ending.ts";
import { onAbort } from "./stop.ts";

export interface ArtifactSink {
  /** Adds bytes at an offset, the end of those before; resolves when they are safe. PID 1 is slowed to its pace. */
  append(offset: number, bytes: Buffer): Promise<void>;
  /** Drops what is behind the first `length` bytes, unless they are sealed. */
  cut(length: number): Promise<void>;
  /** There are `length` bytes, and no more come. */
  seal(length: number, index: ReadonlyMap<string, StoredArtifact>, facts: ArtifactFacts): Promise<void>;
}

/** Entries that are no files: see runtime/init/artifacts.h. No file's name begins with a slash. */
const VOID = "/void";
const LEFT_OUT = "/left-out";
/** Its text is two numbers and a digit. */
const MAX_SUMMARY_BYTES = 64;

/** Each has Redis copy what is stored, without the file before it; of an honest PID 1 there are hardly any. */
const MAX_VOIDS = 16;

/** As much as a header's twelve digits have; more is no date in JavaScript. */
const LAST_MS = 0o77777777777 * 1000;

/** So much is stored at a time. */
const PIECE_BYTES = 256 * 1024;

/** Each file may have a header that extends its own and be void. */
const RULES: TarRules = {
  maxEntries: 3 * ARTIFACT_BOUNDS.files + 16,
  broken: (what) => new Error(`artifacts: ${what}`),
  tooMany: (entries) => new Error(`artifacts: more than ${entries} entries`),
};

/** Reads the tar to its end, or to where it breaks. Memory is bounded by a piece and an index. Rejects if the sink does. */
export async function keepArtifacts(
  tar: AsyncIterable<Uint8Array>,
  limits: Pick<SandboxArtifacts, "maxFiles" | "maxBytes">,
  sink: ArtifactSink,
): Promise<{ facts: ArtifactFacts; broken?: unknown }> {
  const keeper = new Keeper(limits, sink);
  let broken: { why: unknown } | undefined;
  try {
    for await (const entry of readTar(tar, RULES)) await keeper.take(entry);
  } catch (why) {
    broken = { why };
  }
  const facts = await keeper.finish();
  return { facts, ...(broken ? { broken: broken.why } : {}) };
}

/** What nobody can be told of is of no use to anybody. Never rejects: what stays goes with its run. */
export const dropArtifacts = (sink: ArtifactSink): Promise<void> => sink.cut(0).catch(() => {});

/** Of a sandbox whose program has been started. Never rejects: if they cannot be had the run ends as it has ended, without them. */
export async function collectArtifacts(
  sandbox: Sandbox,
  limits: SandboxArtifacts,
  { sink, lost }: { readonly sink: ArtifactSink; readonly lost: (error: unknown) => void },
): Promise<void> {
  if (!sandbox.artifacts || !sandbox.programStarted) return;
  const kept = await keepArtifacts(sandbox.artifacts, limits, sink).catch(lost);
  if (!kept) await dropArtifacts(sink);
  if (kept?.broken) lost(kept.broken);
  // PID 1 is all that is left, and would wait for whoever reads on.
  if (!kept || kept.broken) sandbox.kill();
}

/** A container that is killed closes its end of the tar within this, unless that is not what it handed over. */
const KILLED_MS = 1_000;

/**
 * Bounds the time that collecting takes, and ends it early for whoever is in a hurry from now on, and for a worker that leaves.
 * Returns the way to stop watching.
 */
export function boundCollecting(sandbox: Sandbox, ending: Ending): () => void {
  const { artifacts } = sandbox;
  if (!artifacts) return () => {};
  const stops: (() => void)[] = [];
  const end = () => {
    sandbox.kill();
    const overdue = setTimeout(() => artifacts.destroy(new Error("out of time")), KILLED_MS);
    stops.push(() => clearTimeout(overdue));
  };
  const clock = setTimeout(end, ARTIFACT_BOUNDS.collectMs);
  stops.push(() => clearTimeout(clock), onAbort(ending.abandoned, end));
  // One that was in a hurry before wants the program's end, and has it.
  if (!ending.hurried.aborted) stops.push(onAbort(ending.hurried, end));
  return () => {
    for (const stop of stops) stop();
  };
}

class Keeper {
  readonly #limits: Pick<SandboxArtifacts, "maxFiles" | "maxBytes">;
  readonly #sink: ArtifactSink;
  readonly #index = new Map<string, StoredArtifact>();
  #pieces: Buffer[] = [];
  #unsent = 0;
  /** Stored, and with what is unsent. */
  #stored = 0;
  /** Where the last whole file ends; and the name of the last one that was taken, while it may turn out to be void. */
  #whole = 0;
  #last: string | undefined;
  #bytes = 0;
  #voids = 0;
  #left = { files: 0, bytes: 0 };
  /** Until PID 1 has said so, nobody knows that there is no more. */
  #more = true;

  constructor(limits: Pick<SandboxArtifacts, "maxFiles" | "maxBytes">, sink: ArtifactSink) {
    this.#limits = limits;
    this.#sink = sink;
  }

  async take(entry: TarEntry): Promise<void> {
    if (entry.name === LEFT_OUT) return this.#hear(entry);
    if (entry.name === VOID) return this.#hearVoid();
    if (!this.#mayHave(entry)) {
      this.#left.files++;
      this.#left.bytes += entry.size;
      this.#last = undefined;
      return;
    }
    await this.#keep(entry);
  }

  async finish(): Promise<ArtifactFacts> {
    await this.#cut(this.#whole);
    const [files, bytes] = [this.#index.size, this.#bytes];
    const isTruncated = this.#left.files > 0 || this.#more;
    const facts = {
      files,
      bytes,
      ...(isTruncated ? { truncated: { ...this.#left, ...(this.#more ? { more: true as const } : {}) } } : {}),
    };
    await this.#flush();
    await this.#sink.seal(this.#stored, this.#index, facts);
    return facts;
  }

  #mayHave({ name, type, size }: TarEntry): boolean {
    const hasRoom = this.#index.size < this.#limits.maxFiles && size <= this.#limits.maxBytes - this.#bytes;
    return type === "file" && hasRoom && isArtifactName(name) && !this.#index.has(pathOf(name));
  }

  async #keep({ name, size, mode, content, ...entry }: TarEntry): Promise<void> {
    const modifiedMs = Math.min(entry.modifiedMs, LAST_MS); // There are none before 1970.
    const hash = createHash("sha256");
    await this.#add(headOf({ name, size, mode, modifiedMs }));
    const offset = this.#stored + this.#unsent;
    for await (const bytes of content) {
      hash.update(bytes);
      await this.#add(Buffer.from(bytes));
    }
    await this.#add(Buffer.alloc(paddingOf(size)));
    this.#last = pathOf(name);
    this.#whole = this.#stored + this.#unsent;
    this.#bytes += size;
    this.#index.set(this.#last, { offset, bytes: size, mode, modifiedMs, sha256: hash.digest("hex") });
  }

  async #hearVoid(): Promise<void> {
    await this.#dropLast();
    if (++this.#voids > MAX_VOIDS) throw RULES.broken(`more than ${MAX_VOIDS} voids`);
  }

  /** It was not read to its end: PID 1 counts it as left out. */
  async #dropLast(): Promise<void> {
    const dropped = this.#last === undefined ? undefined : this.#index.get(this.#last);
    if (this.#last === undefined || !dropped) return;
    this.#index.delete(this.#last);
    this.#bytes -= dropped.bytes;
    this.#whole = [...this.#index.values()].reduce(
      (end, { offset, bytes }) => Math.max(end, offset + bytes + paddingOf(bytes)),
      0,
    );
    this.#last = undefined;
    await this.#cut(this.#whole);
  }

  /** `2 99999 0`, of what PID 1 has left out. */
  async #hear({ size, content }: TarEntry): Promise<void> {
    if (size > MAX_SUMMARY_BYTES) return;
    const parts: Uint8Array[] = [];
    for await (const part of content) parts.push(part);
    const [, files, bytes, more] = /^(\d{1,15}) (\d{1,15}) ([01])\n$/.exec(Buffer.concat(parts).toString()) ?? [];
    if (files === undefined) return;
    this.#left = { files: this.#left.files + Number(files), bytes: this.#left.bytes + Number(bytes) };
    this.#more = more === "1";
  }

  async #add(bytes: Buffer): Promise<void> {
    this.#pieces.push(bytes);
    this.#unsent += bytes.length;
    if (this.#unsent >= PIECE_BYTES) await this.#flush();
  }

  async #flush(): Promise<void> {
    if (this.#unsent === 0) return;
    const bytes = Buffer.concat(this.#pieces);
    [this.#pieces, this.#unsent] = [[], 0];
    await this.#sink.append(this.#stored, bytes);
    this.#stored += bytes.length;
  }

  async #cut(length: number): Promise<void> {
    if (length === this.#stored + this.#unsent) return;
    await this.#flush();
    await this.#sink.cut(length);
    this.#stored = length;
  }
}

const pathOf = (name: string): string => `/${name}`;
