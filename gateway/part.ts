// Bytes that never change, as an answer: whole or a range of them, and nothing to whoever has them (RFC 9110, sections 13 and 14).

import type { Context } from "hono";
import { MayflyError } from "../core/errors.ts";
import type { Slice } from "./dispatch/run-store.ts";
import { parseRange } from "./range.ts";

export interface Part {
  readonly length: number;
  /** Strong, with its quotes. */
  readonly etag: string;
  /** That a browser saves it under. */
  readonly name: string;
  readonly type: string;
  /** Gives so many bytes, or fails. */
  read(from: number, length: number): AsyncGenerator<Buffer>;
}

/** Throws `range_not_satisfiable`. What a program wrote is for saving, and never for a browser to show. */
export async function answerPart(c: Context, part: Part): Promise<Response> {
  const { length, etag } = part;
  c.header("etag", etag);
  c.header("accept-ranges", "bytes");
  c.header("x-content-type-options", "nosniff");
  if (hasTag(c.req.header("if-none-match"), etag)) return c.body(null, 304);
  const range = isCurrent(c.req.header("if-range"), etag) ? parseRange(c.req.header("range")) : undefined;
  const { from, count } = range ? placeOf(range, length) : { from: 0, count: length };
  if (range && count === 0) {
    c.header("content-range", `bytes */${length}`);
    throw new MayflyError("range_not_satisfiable", `there are ${length} bytes`, { details: { length } });
  }
  const body = await streamOf(part.read(from, count)); // Before its length is told: a problem that is answered instead has another.
  c.header("content-type", part.type);
  c.header("content-length", String(count));
  c.header("content-disposition", disposition(part.name));
  if (range) c.header("content-range", `bytes ${from}-${from + count - 1}/${length}`);
  return c.body(body, range ? 206 : 200);
}

function placeOf({ first, last }: Slice, length: number): { from: number; count: number } {
  const from = first ?? Math.max(0, length - (last ?? 0));
  const to = first === undefined ? length : Math.min(length, (last ?? length) + 1);
  return { from, count: Math.max(0, to - from) };
}

/** Of a list of tags; a weak one is as good here. */
function hasTag(list: string | undefined, etag: string): boolean {
  const tags = list?.split(",").map((tag) => tag.trim().replace(/^W\//, "")) ?? [];
  return tags.includes(etag) || tags.includes("*");
}

/** A range is only of use to whoever has the rest of the same bytes. */
const isCurrent = (ifRange: string | undefined, etag: string): boolean => ifRange === undefined || ifRange === etag;

/** RFC 6266: a name for old readers, of letters that cannot be mistaken, and the name itself. */
export function disposition(name: string): string {
  const plain = name.replace(/[^A-Za-z0-9._-]/g, "_");
  const whole = encodeURIComponent(name.toWellFormed()).replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16)}`);
  return `attachment; filename="${plain}"; filename*=UTF-8''${whole}`;
}

/** The first piece is had before anything is answered, so that what is not there is told with a status. */
async function streamOf(pieces: AsyncGenerator<Buffer>): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
  let next: IteratorResult<Buffer> | undefined = await pieces.next();
  return new ReadableStream(
    {
      async pull(controller) {
        const { done, value } = next ?? (await pieces.next());
        next = undefined;
        if (done) controller.close();
        else controller.enqueue(new Uint8Array(value));
      },
      async cancel() {
        await pieces.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );
}
