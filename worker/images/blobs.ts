// GET /blobs/{digest}: a blob as it lies here, or one range of it.

import { type FileHandle, open } from "node:fs/promises";
import { Readable } from "node:stream";
import type { Context } from "hono";
import { isErrno, MayflyError } from "../../core/errors.ts";
import type { ImageAdmin } from "../../runtime/index.ts";
import { parseRange } from "./blob-range.ts";

const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** Errors: `invalid_field`, `image_not_present`. The file is closed when the body has been read, or nobody reads it any more. */
export async function answerBlob(c: Context, admin: ImageAdmin, digest: string): Promise<Response> {
  if (!DIGEST.test(digest)) throw new MayflyError("invalid_field", "digest is not sha256: and 64 hex digits");
  const blob = await admin.blob(digest);
  const file = blob && (await openIfThere(blob.path));
  if (!blob || !file) throw new MayflyError("image_not_present", `this host has no blob ${digest}`);
  const range = parseRange(c.req.header("range"), blob.size);
  c.header("accept-ranges", "bytes");
  c.header("content-type", "application/octet-stream");
  if (range === "none") {
    await file.close();
    return c.body(null, 416, { "content-range": `bytes */${blob.size}` });
  }
  const { start, end } = range ?? { start: 0, end: blob.size - 1 };
  c.header("content-length", String(end - start + 1));
  if (range) c.header("content-range", `bytes ${start}-${end}/${blob.size}`);
  // Of an answer to HEAD nobody reads the body: left to the garbage collector, the open file would end the process.
  const isRead = c.req.method !== "HEAD" && end >= start;
  return c.newResponse(await bodyOf(file, isRead ? { start, end } : undefined), range ? 206 : 200);
}

/** Garbage collection may have been faster. */
async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, "r");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

async function bodyOf(
  file: FileHandle,
  part: { start: number; end: number } | undefined,
): Promise<ReadableStream<Uint8Array<ArrayBuffer>> | null> {
  if (part) return Readable.toWeb(file.createReadStream(part)) as ReadableStream<Uint8Array<ArrayBuffer>>;
  await file.close();
  return null;
}
