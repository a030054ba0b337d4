// What Mayfly could not do. How a program ended is never an error: that is an outcome (see run.ts).
//
// A code is closed and decides behaviour (HTTP status, whether to try again). A reason is closed and documented: it is
// what a user searches for. Every reason belongs to one code.

export const CODES = [
  "invalid_argument",
  "unauthenticated",
  "permission_denied",
  "not_found",
  "already_exists",
  "failed_precondition",
  "resource_exhausted",
  "unavailable",
  "deadline_exceeded",
  "cancelled",
  "data_loss",
  "unimplemented",
  "internal",
] as const;

export type ErrorCode = (typeof CODES)[number];

/** Every reason there is, the code it belongs to, and what it tells the user. `docs/errors.md` is held to this table by a test. */
export const REASONS = {
  invalid_field: {
    code: "invalid_argument",
    says: "A field has an unknown name, a wrong type or an impossible value.",
  },
  malformed_body: { code: "invalid_argument", says: "The body is not JSON." },
  unsupported_media_type: { code: "invalid_argument", says: "The body is sent as another type than the call takes." },
  upload_invalid: {
    code: "invalid_argument",
    says: "The upload is no whole tar, or has an entry that is not taken.",
  },
  body_too_large: { code: "invalid_argument", says: "The body, or the input sent to a run, is over its limit." },
  range_not_satisfiable: {
    code: "invalid_argument",
    says: "The range of bytes begins behind the last one that there is.",
  },
  invalid_reference: { code: "invalid_argument", says: "The image reference cannot be read." },
  key_missing: { code: "unauthenticated", says: "The request carries no API key." },
  key_unknown: { code: "unauthenticated", says: "The API key is not known here." },
  origin_refused: { code: "permission_denied", says: "A gateway without keys answers only to its loopback name." },
  scope_missing: { code: "permission_denied", says: "The key lacks the scope that the call needs." },
  image_access_denied: { code: "permission_denied", says: "The registry refuses these credentials for the image." },
  route_not_found: { code: "not_found", says: "There is no such route, or not with this method." },
  run_not_found: { code: "not_found", says: "There is no such run, or its retention is over." },
  artifact_not_found: {
    code: "not_found",
    says: "The run has kept no such file: it asked for none, it left none, or none could be collected.",
  },
  batch_not_found: { code: "not_found", says: "There is no such batch, or its retention is over." },
  key_not_found: { code: "not_found", says: "There is no API key with this id." },
  secret_not_found: { code: "not_found", says: "There is no such secret, or it has gone since the run was accepted." },
  secret_unreadable: {
    code: "failed_precondition",
    says: "The host cannot open a secret of the run: it lacks the key, or what is kept is not what was sealed.",
  },
  secrets_disabled: { code: "failed_precondition", says: "The gateway has no key to seal secrets with." },
  too_many_secrets: { code: "failed_precondition", says: "There are as many secrets as may be." },
  upload_not_found: { code: "not_found", says: "There is no such upload of the tenant's, or its time is over." },
  schedule_not_found: { code: "not_found", says: "The tenant has no schedule of this name." },
  schedule_exists: { code: "already_exists", says: "The tenant has a schedule of this name." },
  too_many_schedules: { code: "failed_precondition", says: "There are as many schedules as may be." },
  host_not_found: { code: "not_found", says: "There is no such host, or it does not live any more." },
  image_not_allowed: {
    code: "permission_denied",
    says: "The operator's policy for images refuses the reference, or wants a digest in it.",
  },
  image_not_present: {
    code: "not_found",
    says: "The host does not have the image, and was asked not to pull it.",
  },
  image_in_use: { code: "failed_precondition", says: "The image is held by a run, or pinned." },
  image_not_found: { code: "not_found", says: "The registry has no such image, tag or digest." },
  image_unsupported: {
    code: "failed_precondition",
    says: "The image has no variant for this host, or a format that is not supported.",
  },
  stdin_closed: {
    code: "failed_precondition",
    says: "The run takes no more input: its stdin is closed or it has ended.",
  },
  batch_closed: {
    code: "failed_precondition",
    says: "The batch takes no more items: its input is closed, or it is stopped.",
  },
  batch_too_large: {
    code: "failed_precondition",
    says: "The batch has as many items as a batch may have.",
  },
  run_not_running: {
    code: "failed_precondition",
    says: "The run's program is not there to be told anything: it has not been started yet, or it has ended.",
  },
  run_not_finished: {
    code: "failed_precondition",
    says: "The run goes on: what is asked can only be done once it has finished.",
  },
  dead_letter_not_found: {
    code: "not_found",
    says: "The run is not among the dead letters: it was tried again, or dismissed.",
  },
  webhook_not_found: { code: "not_found", says: "The run was made without a webhook." },
  no_terminal: { code: "failed_precondition", says: "The run was made without a terminal." },
  quota_exceeded: {
    code: "resource_exhausted",
    says: "The tenant has as much as it may have, or the run alone needs more.",
  },
  no_host_large_enough: { code: "failed_precondition", says: "No host of the pool could hold the run, were it empty." },
  idempotency_conflict: {
    code: "already_exists",
    says: "The idempotency key was used for another request.",
  },
  key_expired: { code: "failed_precondition", says: "The API key is over, and cannot be rotated." },
  too_many_keys: {
    code: "failed_precondition",
    says: "The tenant has as many API keys as it may, or there are as many tenants as may be.",
  },
  rate_limited: { code: "resource_exhausted", says: "The tenant makes more requests than it may." },
  too_many_batches: { code: "resource_exhausted", says: "The tenant has as many unfinished batches as it may." },
  queue_full: { code: "resource_exhausted", says: "The queue is at its limit." },
  too_many_waiters: { code: "resource_exhausted", says: "This gateway holds as many waiting requests as it may." },
  queue_unavailable: { code: "unavailable", says: "Redis does not answer." },
  registry_unavailable: { code: "unavailable", says: "The registry does not answer, after bounded retries." },
  host_unavailable: { code: "unavailable", says: "The host cannot make a sandbox now." },
  image_corrupt: { code: "data_loss", says: "Content does not match its digest or size, or is not a valid layer." },
  not_implemented: { code: "unimplemented", says: "Mayfly does not do this yet." },
  configuration_invalid: {
    code: "failed_precondition",
    says: "The configuration of a process is wrong; it does not start.",
  },
  bug: { code: "internal", says: "A fault of Mayfly's own." },
} as const satisfies Record<string, { code: ErrorCode; says: string }>;

export type ErrorReason = keyof typeof REASONS;

const BRAND = Symbol.for("mayfly.error");

export type ErrorDetails = Readonly<Record<string, string | number | boolean>>;

/** An error that crosses layers. `message` is for the operator; `details` carry the facts (which field, digest, limit). */
export class MayflyError extends Error {
  readonly [BRAND] = true;
  readonly reason: ErrorReason;
  readonly details: ErrorDetails;

  constructor(reason: ErrorReason, message: string, options: { details?: ErrorDetails; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "MayflyError";
    this.reason = reason;
    this.details = options.details ?? {};
  }

  get code(): ErrorCode {
    return REASONS[this.reason].code;
  }
}

/** Recognises by symbol, so that two copies of this module agree. */
export function isMayflyError(value: unknown): value is MayflyError {
  return typeof value === "object" && value !== null && BRAND in value;
}

/** Anything thrown, as a MayflyError; what is not ours is `internal`, its cause kept. */
export function toMayflyError(thrown: unknown): MayflyError {
  if (isMayflyError(thrown)) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new MayflyError("bug", message, { cause: thrown });
}

/** True for an errno error of Node's with one of these codes, such as `ENOENT`. */
export function isErrno(thrown: unknown, ...codes: string[]): boolean {
  return thrown instanceof Error && "code" in thrown && codes.includes(String(thrown.code));
}
