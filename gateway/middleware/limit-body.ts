// No body is read that is longer than the limit. An archive of images has a limit of its own, and is counted by who reads it: it is far
// larger than what should be held here.

import type { MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { MayflyError } from "../../core/errors.ts";
import type { GatewayEnv } from "../context.ts";
import { answerProblem, toProblem } from "../problem.ts";

/** Where archives are sent to. */
export const ARCHIVES_PATH = "/v1/images/load";

export function limitBody(maxBytes: number, maxArchiveBytes: number): MiddlewareHandler<GatewayEnv> {
  // Counts what comes, for which the body has to be made a stream first.
  const count = bodyLimit({ maxSize: maxBytes, onError: (c) => answerProblem(c, toProblem(tooLarge(maxBytes))) });
  return async (c, next) => {
    // Node's parser takes no more of a body than its header says, and refuses one that is chunked besides.
    const length = c.req.header("transfer-encoding") === undefined ? c.req.header("content-length") : undefined;
    const isArchive = c.req.path === ARCHIVES_PATH;
    const limit = isArchive ? maxArchiveBytes : maxBytes;
    if (length === undefined || !/^\d+$/.test(length)) return isArchive ? next() : count(c, next);
    if (Number(length) > limit) throw tooLarge(limit);
    return next();
  };
}

/** The chunks of a body, no faster than they are read. Throws `body_too_large` once more than that has come. */
export async function* limited(
  body: ReadableStream<Uint8Array> | null,
  maxBytes: number,
): AsyncGenerator<Uint8Array, void> {
  let bytes = 0;
  for await (const chunk of body ?? []) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw tooLarge(maxBytes);
    yield chunk;
  }
}

function tooLarge(limit: number): MayflyError {
  return new MayflyError("body_too_large", `the body is more than ${limit} bytes`, { details: { limit } });
}
