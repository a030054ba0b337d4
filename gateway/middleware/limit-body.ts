// No body is read that is longer than the limit. An archive of images, an upload and a program's input have limits of their own, and are counted by
// who reads them: they are far larger than what should be held here.

import type { Context, MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { MayflyError } from "../../core/errors.ts";
import type { GatewayEnv } from "../context.ts";
import { answerProblem, toProblem } from "../problem.ts";
import { tarBytes } from "../uploads/unpack.ts";

/** Where archives are sent to. */
export const ARCHIVES_PATH = "/v1/images/load";

/** What stands before the image of a run whose body is its stdin. */
export const RAW_PATH = "/v1/run/";

/** Where uploads are sent to. */
export const UPLOADS_PATH = "/v1/uploads";

/** Lines of a batch's input, of which each has a limit, and all of them as many as a batch may have items. */
export function isLines({ req }: Context): boolean {
  const type = req.header("content-type")?.split(";")[0]?.trim().toLowerCase();
  return type === "application/x-ndjson" && /^\/v1\/batches(\/[^/]+\/items)?$/.test(req.path);
}

export interface BodyLimits {
  readonly maxBodyBytes: number;
  readonly maxArchiveBytes: number;
  readonly maxStdinBytes: number;
  readonly maxUploadBytes: number;
}

export function limitBody({ maxBodyBytes: maxBytes, ...streamed }: BodyLimits): MiddlewareHandler<GatewayEnv> {
  // Counts what comes, for which the body has to be made a stream first.
  const count = bodyLimit({ maxSize: maxBytes, onError: (c) => answerProblem(c, toProblem(tooLarge(maxBytes))) });
  return async (c, next) => {
    if (isLines(c)) return next();
    // Node's parser takes no more of a body than its header says, and refuses one that is chunked besides.
    const length = c.req.header("transfer-encoding") === undefined ? c.req.header("content-length") : undefined;
    const own = ownLimit(c.req.path, streamed);
    const limit = own ?? maxBytes;
    if (length === undefined || !/^\d+$/.test(length)) return own === undefined ? count(c, next) : next();
    if (Number(length) > limit) throw tooLarge(limit);
    return next();
  };
}

/** Of a body that is not held here. */
function ownLimit(path: string, limits: Omit<BodyLimits, "maxBodyBytes">): number | undefined {
  if (path === ARCHIVES_PATH) return limits.maxArchiveBytes;
  if (path === UPLOADS_PATH) return tarBytes(limits.maxUploadBytes);
  return path.startsWith(RAW_PATH) ? limits.maxStdinBytes : undefined;
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
