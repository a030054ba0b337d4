// One wide event a unit of work: one JSON line that answers "what happened, how long did each part take, and why".
// Never in it: program output, request bodies, environment values, keys and tokens.

import { wallTime } from "./clock.ts";
import { isMayflyError } from "./errors.ts";

export type EventFields = Readonly<Record<string, unknown>>;

export interface Log {
  /** Something happened as it should. */
  info(event: string, fields?: EventFields): void;
  /** Something an operator should look at, though the work went on. */
  warn(event: string, fields?: EventFields): void;
  /** Something could not be done. */
  error(event: string, fields?: EventFields): void;
}

export type WriteLine = (line: string) => void;

/** A log whose lines carry `base` (process, host). Errors among the fields become their reason and message, without stack. */
export function createLog(base: EventFields, write: WriteLine): Log {
  const emit =
    (level: string) =>
    (event: string, fields: EventFields = {}) =>
      write(`${JSON.stringify({ time: wallTime(), level, event, ...base, ...plainly(fields) })}\n`);
  return { info: emit("info"), warn: emit("warn"), error: emit("error") };
}

export const SILENT: Log = { info() {}, warn() {}, error() {} };

/** JSON has no errors and no bigints; they stand at the top of an event. */
function plainly(fields: EventFields): EventFields {
  const plained: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) plained[name] = plain(value);
  return plained;
}

function plain(value: unknown): unknown {
  if (isMayflyError(value)) {
    return { reason: value.reason, message: value.message, ...value.details, cause: causeOf(value) };
  }
  if (value instanceof Error) return { message: value.message, name: value.name };
  return typeof value === "bigint" ? Number(value) : value;
}

function causeOf(error: Error): string | undefined {
  return error.cause instanceof Error ? error.cause.message : undefined;
}
