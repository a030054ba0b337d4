// How a command tells that it failed: lines for people, or one JSON document with `--json`. Both go to stderr.

import { isErrno, isMayflyError } from "../core/errors.ts";
import { formatDuration } from "../core/units.ts";
import { type ClientError, type FieldProblem, isClientError } from "./client-error.ts";
import { EXIT } from "./exit-codes.ts";
import { type Io, note, noteJson } from "./io.ts";
import { ReaderGone } from "./sink.ts";
import { UsageError } from "./usage-error.ts";

export interface ReportOptions {
  readonly io: Io;
  readonly json: boolean;
  /** Exit code for a wrong command line. */
  readonly usageExit: number;
  /** Exit code for everything else. */
  readonly failureExit: number;
  /** Where help is, such as `mayfly run`. */
  readonly helpOf: string;
}

/** What `--json` prints, under `error`. */
export interface ErrorDocument {
  readonly code: string;
  readonly reason: string;
  readonly message: string;
  readonly status?: number | undefined;
  readonly errors?: readonly FieldProblem[];
}

/** Tells of anything thrown, and returns the exit code that it means. */
export async function report(error: unknown, options: ReportOptions): Promise<number> {
  if (error instanceof ReaderGone) return EXIT.readerGone;
  const isUsage = error instanceof UsageError;
  if (options.json) await noteJson(options.io, { error: describe(error) });
  else await note(options.io, explain(error, options));
  return isUsage ? options.usageExit : options.failureExit;
}

export function describe(error: unknown): ErrorDocument {
  if (error instanceof UsageError) return { code: "invalid_argument", reason: "usage", message: error.message };
  if (isClientError(error)) {
    const { code, reason, status, detail, errors } = error;
    return { code, reason, status, message: detail, ...(errors.length > 0 ? { errors } : {}) };
  }
  if (isMayflyError(error)) return { code: error.code, reason: error.reason, message: error.message };
  return { code: "internal", reason: "bug", message: error instanceof Error ? error.message : String(error) };
}

function explain(error: unknown, { helpOf }: ReportOptions): string {
  if (error instanceof UsageError) return `${indent(error.message)}\nSee '${helpOf} --help'.`;
  if (isClientError(error)) return explainRefusal(error);
  return indent(describe(error).message);
}

function explainRefusal(error: ClientError): string {
  const lines = [`${error.detail} (${error.reason})`];
  for (const { field, message } of error.errors) lines.push(`  ${field}: ${message}`);
  if (error.retryAfterMs !== undefined) lines.push(`  try again in ${formatDuration(error.retryAfterMs)}`);
  return [...lines, ...adviceFor(error)].join("\n");
}

/** What to do now, a line each. */
function adviceFor({ reason, code, status, cause }: ClientError): string[] {
  if (code === "unauthenticated") {
    return [
      "  MAYFLY_API_KEY_FILE=FILE or MAYFLY_API_KEY=KEY give the key; for good:",
      "  mayfly context create NAME --url URL --key-file FILE",
    ];
  }
  if (reason === "scope_missing") return ["  give a key with that scope, or ask whoever has one"];
  if (reason !== "gateway_unreachable" || status !== undefined) return [];
  const elsewhere =
    "  is it elsewhere? --url URL, MAYFLY_URL=URL or a context (mayfly context) say where the gateway is";
  return isRefused(cause)
    ? ["  nothing listens there; npm run quickstart starts a cluster on this machine", elsewhere]
    : [elsewhere];
}

/** `fetch` hides the connection's own error in its cause. */
function isRefused(thrown: unknown): boolean {
  return isErrno(thrown instanceof Error ? (thrown.cause ?? thrown) : thrown, "ECONNREFUSED");
}

function indent(text: string): string {
  return text.replaceAll("\n", "\n  ");
}
