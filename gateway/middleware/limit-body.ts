// No body is read that is longer than the limit.

import type { MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { MayflyError } from "../../core/errors.ts";
import type { GatewayEnv } from "../context.ts";
import { answerProblem, toProblem } from "../problem.ts";

export function limitBody(maxBytes: number): MiddlewareHandler<GatewayEnv> {
  const error = () =>
    new MayflyError("body_too_large", `the body is more than ${maxBytes} bytes`, { details: { limit: maxBytes } });
  // Counts what comes, for which the body has to be made a stream first.
  const count = bodyLimit({ maxSize: maxBytes, onError: (c) => answerProblem(c, toProblem(error())) });
  return async (c, next) => {
    // Node's parser takes no more of a body than its header says, and refuses one that is chunked besides.
    const length = c.req.header("transfer-encoding") === undefined ? c.req.header("content-length") : undefined;
    if (length === undefined || !/^\d+$/.test(length)) return count(c, next);
    if (Number(length) > maxBytes) throw error();
    return next();
  };
}
