// The record of a run: the one truth about it, a hash in Redis. Strings in, typed values out; what cannot be read is a bug.

import { z } from "zod";
import { TerminalSize } from "./control.ts";
import { RunRequest } from "./request.ts";
import { Outcome, Receipt, RunState, StreamFacts } from "./run.ts";

const flag = z.enum(["0", "1"]).transform((value) => value === "1");
const epochMs = z.coerce.number().int();
const json = <T extends z.ZodType>(schema: T) =>
  z
    .string()
    .transform((text) => JSON.parse(text))
    .pipe(schema);

export const RunRecord = z.object({
  id: z.string(),
  tenant: z.string(),
  state: RunState,
  /** 1 for the first attempt. Every move that takes the run from a host adds 1, so an old holder's words are refused. */
  attempt: z.coerce.number().int(),
  /** How many attempts have had their program started; `retries` bounds it. */
  startedAttempts: z.coerce.number().int().default(0),
  /** As it was asked for, less its stdin. */
  request: json(RunRequest),
  stdinClosed: flag.default(false),
  createdAt: epochMs,
  /** When it last came to wait, and when a host last took it; both by Redis' clock. */
  queuedAt: epochMs,
  claimedAt: epochMs.optional(),
  startedAt: epochMs.optional(),
  finishedAt: epochMs.optional(),
  host: z.string().optional(),
  /** Which life of that host's worker. */
  holder: z.string().optional(),
  /** Why the host that held the run let go of it, if it did so by itself. */
  givenUp: z.string().optional(),
  cancelRequested: flag.default(false),
  /** The terminal's size, once it is another than the one that was asked for. */
  terminalSize: json(TerminalSize).optional(),
  outcome: json(Outcome).optional(),
  receipt: json(Receipt).optional(),
  stdout: json(StreamFacts).optional(),
  stderr: json(StreamFacts).optional(),
});

export type RunRecord = z.infer<typeof RunRecord>;

/** Undefined for the empty hash that Redis answers for a run it does not have. */
export function parseRecord(hash: Readonly<Record<string, string>>): RunRecord | undefined {
  return Object.keys(hash).length === 0 ? undefined : RunRecord.parse(hash);
}

/** The flat list `field, value, …` that Redis' Lua returns for a hash. */
export function parseFlatRecord(flat: readonly string[]): RunRecord | undefined {
  const hash: Record<string, string> = {};
  for (let i = 0; i + 1 < flat.length; i += 2) hash[String(flat[i])] = String(flat[i + 1]);
  return parseRecord(hash);
}

/** What BullMQ carries: which attempt of which run waits, and how much room it needs. Never input or output. */
export const Ticket = z.strictObject({
  run: z.string(),
  attempt: z.int(),
  demand: z.strictObject({ cpus: z.number(), memoryBytes: z.int(), pids: z.int() }),
});
export type Ticket = z.infer<typeof Ticket>;

/** One attempt has one ticket, however often it is added. (BullMQ refuses ids with ":" and ids of digits alone.) */
export const ticketId = ({ run, attempt }: { run: string; attempt: number }): string => `${run}-${attempt}`;
