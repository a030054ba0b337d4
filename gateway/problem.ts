// The one place where what Mayfly could not do becomes an HTTP answer (RFC 9457, application/problem+json).

import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { ErrorCode, ErrorReason, MayflyError } from "../core/errors.ts";
import { REASONS } from "../core/errors.ts";

const STATUS: Readonly<Record<ErrorCode, number>> = {
  invalid_argument: 400,
  unauthenticated: 401,
  permission_denied: 403,
  not_found: 404,
  already_exists: 409,
  failed_precondition: 409,
  resource_exhausted: 429,
  unavailable: 503,
  deadline_exceeded: 504,
  cancelled: 499,
  data_loss: 502,
  unimplemented: 501,
  internal: 500,
};

/** Reasons for which HTTP has a more exact status than their code's. */
const STATUS_OF_REASON: Partial<Record<ErrorReason, number>> = {
  body_too_large: 413,
  unsupported_media_type: 415,
  range_not_satisfiable: 416,
};

/** Seconds after which a caller may come back: long enough to be no flood, short enough to find a restarted Redis. */
const RETRY_AFTER_SECONDS = 1;

/** One thing that is wrong with a request: `field` is a path such as `limits.memory`. */
export interface FieldError {
  readonly field: string;
  readonly message: string;
}

export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: ErrorCode;
  readonly reason: ErrorReason;
  readonly errors?: readonly FieldError[];
}

/** What the caller is told; `type` is where the gateway's own pages explain it. An internal fault's message is for the operator's log alone. */
export function toProblem(error: MayflyError, errors?: readonly FieldError[]): Problem {
  const { code, reason } = error;
  return {
    type: `/docs#${reason}`,
    title: REASONS[reason].says,
    status: STATUS_OF_REASON[reason] ?? STATUS[code],
    detail: code === "internal" ? "The fault has been logged under this request's id." : error.message,
    code,
    reason,
    ...(errors ? { errors } : {}),
  };
}

/** What a route may have told of a body that is not sent now: another length would have the connection read out of step. */
const OF_THE_BODY = ["content-length", "content-disposition", "etag", "last-modified", "accept-ranges"] as const;

/** Through the context, so that what the middleware has put into the answer's head stays there. */
export function answerProblem(c: Context, problem: Problem, retryAfterSeconds = RETRY_AFTER_SECONDS): Response {
  for (const name of OF_THE_BODY) c.header(name, undefined);
  if (problem.status !== 416) c.header("content-range", undefined); // There it says how much there is.
  c.header("content-type", "application/problem+json");
  if (problem.status === 429 || problem.status === 503) c.header("retry-after", String(retryAfterSeconds));
  if (problem.status === 401) c.header("www-authenticate", 'Bearer realm="mayfly"');
  return c.body(JSON.stringify(problem), problem.status as ContentfulStatusCode);
}
