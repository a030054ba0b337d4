// What a call to the gateway can fail with, as one type: a refusal it explained, an answer it garbled, or no answer at all.

import { CODES, type ErrorCode, type ErrorReason } from "../core/errors.ts";

/** One field of the request that was refused, as the gateway names it, such as `limits.memory`. */
export interface FieldProblem {
  readonly field: string;
  readonly message: string;
}

/** The client's own reasons: no answer came, or one came that does not follow the API. */
export type ClientReason = "gateway_unreachable" | "answer_invalid";

interface Facts {
  readonly code: ErrorCode;
  /** A newer gateway may have reasons that this client does not know. */
  readonly reason: ErrorReason | ClientReason | (string & {});
  readonly detail: string;
  readonly status?: number | undefined;
  readonly errors?: readonly FieldProblem[];
  /** How long the gateway asks to wait before another try. */
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

/** Thrown by every method of the client, apart from an abort, which throws the signal's own reason. The package calls it MayflyError. */
export class ClientError extends Error {
  readonly code: ErrorCode;
  readonly reason: string;
  readonly detail: string;
  /** HTTP status; undefined if no answer came. */
  readonly status: number | undefined;
  readonly errors: readonly FieldProblem[];
  readonly retryAfterMs: number | undefined;

  constructor(facts: Facts) {
    super(facts.detail, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.name = "ClientError";
    this.code = facts.code;
    this.reason = facts.reason;
    this.detail = facts.detail;
    this.status = facts.status;
    this.errors = facts.errors ?? [];
    this.retryAfterMs = facts.retryAfterMs;
  }

  /** What is wrong with each field, as the gateway names it; empty if it is no matter of fields. */
  get details(): readonly FieldProblem[] {
    return this.errors;
  }

  /** Seconds, as in the header. */
  get retryAfter(): number | undefined {
    return this.retryAfterMs === undefined ? undefined : this.retryAfterMs / 1000;
  }
}

export function isClientError(value: unknown): value is ClientError {
  return value instanceof ClientError;
}

/** The connection could not be made, or it broke before the answer was whole. */
export function unreachable(url: string, cause: unknown): ClientError {
  const detail = `no answer from ${url}: ${connectionFault(cause)}`;
  return new ClientError({ code: "unavailable", reason: "gateway_unreachable", detail, cause });
}

/** The answer was under way and is not whole; another try may bring the rest. */
export function interrupted(detail: string, cause?: unknown): ClientError {
  return new ClientError({ code: "unavailable", reason: "gateway_unreachable", detail, cause });
}

/** The answer came and does not follow the API, so nothing in it is to be believed. */
export function invalidAnswer(detail: string, facts: { status?: number; cause?: unknown } = {}): ClientError {
  return new ClientError({ code: "internal", reason: "answer_invalid", detail, ...facts });
}

/**
 * The error that a status other than 2xx stands for. `body` is the parsed JSON, or undefined if it was none; a body
 * that is no problem document (a proxy's page, say) still gives the code that its status implies. RFC 9457.
 */
export function refused(status: number, body: unknown, retryAfterMs: number | undefined): ClientError {
  const problem = typeof body === "object" && body !== null ? (body as Record<string, unknown>) : {};
  const code = CODES.find((known) => known === problem.code) ?? codeOfStatus(status);
  if (typeof problem.reason !== "string") {
    const detail = `HTTP status ${status} without a problem document: is this URL a Mayfly gateway's?`;
    return new ClientError({ code, reason: "answer_invalid", detail, status, retryAfterMs });
  }
  const detail = [problem.detail, problem.title].find((text) => typeof text === "string") ?? problem.reason;
  return new ClientError({
    code,
    reason: problem.reason,
    detail,
    status,
    errors: fields(problem.errors),
    retryAfterMs,
  });
}

/** Milliseconds of a `Retry-After` header, in seconds or as an HTTP date; undefined if it is neither. RFC 9110, 10.2.3. */
export function parseRetryAfter(header: string | null, nowMs: number = Date.now()): number | undefined {
  if (header === null) return undefined;
  if (/^\d{1,9}$/.test(header)) return Number(header) * 1000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs);
}

function codeOfStatus(status: number): ErrorCode {
  const codes: Readonly<Record<number, ErrorCode>> = {
    401: "unauthenticated",
    403: "permission_denied",
    404: "not_found",
    409: "failed_precondition",
    429: "resource_exhausted",
    499: "cancelled",
    501: "unimplemented",
    502: "unavailable",
    503: "unavailable",
    504: "deadline_exceeded",
  };
  return codes[status] ?? (status >= 400 && status < 500 ? "invalid_argument" : "internal");
}

function fields(value: unknown): FieldProblem[] {
  if (!Array.isArray(value)) return [];
  return value.filter(
    (item): item is FieldProblem => typeof item?.field === "string" && typeof item.message === "string",
  );
}

/** `fetch` hides what went wrong in its error's cause, whose code (`ECONNREFUSED`) says most. */
function connectionFault(thrown: unknown): string {
  const cause = thrown instanceof Error ? (thrown.cause ?? thrown) : thrown;
  if (cause instanceof Error && "code" in cause) return String(cause.code);
  return cause instanceof Error ? cause.message : String(cause);
}
