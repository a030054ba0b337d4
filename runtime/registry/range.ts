// What an answer to a request for the rest of a blob says that it holds (RFC 9110, section 14).

import { MayflyError } from "../../core/errors.ts";
import type { Answer } from "./answer.ts";
import type { Headings } from "./transport.ts";

/** As a manifest describes it. */
export interface BlobDescriptor {
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
}

type Headed = Pick<Answer, "status" | "header">;

/** Asks for what follows the first `from` bytes. `etag` names the state that they are of, where its server has named it. */
export function rangeHeaders(from: number, etag: string | undefined): Headings {
  if (from === 0) return {};
  return { range: `bytes=${from}-`, ...(etag === undefined ? {} : { "if-range": etag }) };
}

/** The tag by which a server names exactly these bytes; a weak one names only their meaning. */
export function strongTag(answer: Headed): string | undefined {
  const tag = answer.header("etag");
  return tag?.startsWith('"') ? tag : undefined;
}

/**
 * How many bytes of the answer the reader has already, of a blob of which it has `from`. `image_corrupt` if the answer is of
 * something else: of another size, another part, or another state than the one whose bytes the reader has.
 */
export function bytesToSkip(
  answer: Headed,
  blob: BlobDescriptor,
  { from, etag }: { from: number; etag: string | undefined },
): number {
  const length = numberOf(answer.header("content-length"));
  if (answer.status === 200) {
    if (length !== undefined && length !== blob.size) throw wrong(blob, `the registry has ${length}`);
    return from;
  }
  const [, first, last, size] = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(answer.header("content-range") ?? "") ?? [];
  if (Number(first) !== from || Number(last) >= blob.size) throw wrong(blob, "the registry sends another part of it");
  if (size !== "*" && Number(size) !== blob.size) throw wrong(blob, `the registry has ${size} now`);
  const tag = strongTag(answer);
  if (etag !== undefined && tag !== undefined && tag !== etag) throw wrong(blob, "the registry has other bytes now");
  return 0;
}

/** It does not have the bytes that its descriptor says, or can no longer have them. */
export function wrong({ digest, size }: BlobDescriptor, why: string): MayflyError {
  return new MayflyError("image_corrupt", `blob ${digest} of ${size} bytes: ${why}`, { details: { digest, size } });
}

function numberOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
