// The record of a run: the one truth about it, a hash in Redis. Strings in, typed values out; what cannot be read is a bug.
//
// Both processes read one in every run, so most of it is read by hand. The request is held to its schema: a worker of an older
// version must not run what it does not understand.

import type { ArtifactFacts } from "./artifacts.ts";
import type { TerminalSize } from "./control.ts";
import { RunRequest } from "./request.ts";
import { NOTHING_SEEN, Outcome, type Pulling, type Receipt, RunState, type StreamFacts } from "./run.ts";

export interface RunRecord {
  readonly id: string;
  readonly tenant: string;
  readonly state: RunState;
  /** 1 for the first attempt. Every move that takes the run from a host adds 1, so an old holder's words are refused. */
  readonly attempt: number;
  /** How many attempts have had their program started. */
  readonly startedAttempts: number;
  /** How many attempts were tried again as the run's `retry` has it. */
  readonly retried: number;
  /** How the last attempts ended that were not the last, oldest first. */
  readonly attempts?: readonly PastAttempt[] | undefined;
  /** The dead letter that this run is another try of. */
  readonly retriedFrom?: string | undefined;
  /** As it was asked for, less its stdin and what is in its files. */
  readonly request: RunRequest;
  readonly stdinClosed: boolean;
  readonly createdAt: number;
  /** When it last came to wait, and when a host last took it; all moments are milliseconds by Redis' clock. */
  readonly queuedAt: number;
  readonly claimedAt?: number | undefined;
  readonly startedAt?: number | undefined;
  readonly finishedAt?: number | undefined;
  readonly host?: string | undefined;
  /** Which life of that host's worker. */
  readonly holder?: string | undefined;
  /** Why the host that held the run let go of it, if it did so by itself. */
  readonly givenUp?: string | undefined;
  readonly cancelRequested: boolean;
  /** The name of the schedule that made it. */
  readonly schedule?: string | undefined;
  /** The terminal's size, once it is another than the one that was asked for. */
  readonly terminalSize?: TerminalSize | undefined;
  readonly pulling?: Pulling | undefined;
  /** The trace that its attempts continue, as W3C Trace Context has it; of the form that telemetry/trace-context.ts lets pass. */
  readonly traceparent?: string | undefined;
  readonly tracestate?: string | undefined;
  readonly outcome?: Outcome | undefined;
  readonly receipt?: Receipt | undefined;
  readonly stdout?: StreamFacts | undefined;
  readonly stderr?: StreamFacts | undefined;
  /** Of a run that asked for some, once they are stored. */
  readonly artifacts?: ArtifactFacts | undefined;
}

type Hash = Readonly<Record<string, string | undefined>>;

/** Undefined for the empty hash that Redis answers for a run it does not have. */
export function parseRecord(hash: Hash): RunRecord | undefined {
  if (Object.keys(hash).length === 0) return undefined;
  return {
    id: text(hash, "id"),
    tenant: text(hash, "tenant"),
    state: RunState.parse(hash.state),
    attempt: whole(hash, "attempt"),
    startedAttempts: optional(whole, hash, "startedAttempts") ?? 0,
    retried: optional(whole, hash, "retried") ?? 0,
    attempts: hash.attempt === "1" ? undefined : pastAttempts(hash),
    retriedFrom: hash.retriedFrom,
    request: parseRequest(text(hash, "request")),
    stdinClosed: optional(flag, hash, "stdinClosed") ?? false,
    createdAt: whole(hash, "createdAt"),
    queuedAt: whole(hash, "queuedAt"),
    claimedAt: optional(whole, hash, "claimedAt"),
    startedAt: optional(whole, hash, "startedAt"),
    finishedAt: optional(whole, hash, "finishedAt"),
    host: hash.host,
    holder: hash.holder,
    givenUp: hash.givenUp,
    schedule: hash.schedule,
    cancelRequested: optional(flag, hash, "cancelRequested") ?? false,
    terminalSize: optional(json<TerminalSize>, hash, "terminalSize"),
    pulling: optional(json<Pulling>, hash, "pulling"),
    traceparent: hash.traceparent,
    tracestate: hash.tracestate,
    outcome: optional(outcome, hash, "outcome"),
    receipt: optional(json<Receipt>, hash, "receipt"),
    stdout: streamFacts(hash, "stdout"),
    stderr: streamFacts(hash, "stderr"),
    artifacts: optional(json<ArtifactFacts>, hash, "artifacts"),
  };
}

/** An attempt that was not the last: moments in ms by Redis' clock. */
export interface PastAttempt {
  readonly attempt: number;
  readonly startedAt?: number;
  readonly finishedAt: number;
  readonly outcome: Outcome;
  /** Of one whose host lived to tell. */
  readonly receipt?: Receipt;
}

const PAST = "attempt:";

function pastAttempts(hash: Hash): PastAttempt[] | undefined {
  const names = Object.keys(hash).filter((name) => name.startsWith(PAST));
  if (names.length === 0) return undefined;
  return names.map((name) => json<PastAttempt>(hash, name)).toSorted((a, b) => a.attempt - b.attempt);
}

/** Of a stream of which nothing came nothing is kept, not even that. */
function streamFacts(hash: Hash, field: "stdout" | "stderr"): StreamFacts | undefined {
  return optional(json<StreamFacts>, hash, field) ?? (hash.receipt === undefined ? undefined : NOTHING_SEEN);
}

/** By this field the script that finishes the run knows that a failure is a dead letter. */
export function retryField({ retry, retries }: RunRequest): string[] {
  return retry !== undefined || (retries ?? 0) > 0 ? ["retryable", "1"] : [];
}

/** By this field the script that finishes the run knows that somebody is to be told, and the gateways whose turn it is. */
export function webhookField({ webhook }: RunRequest): string[] {
  return webhook ? ["webhook", new URL(webhook.url).host] : [];
}

/** The flat list `field, value, …` that Redis' Lua returns for a hash. */
export function parseFlatRecord(flat: readonly string[]): RunRecord | undefined {
  const hash: Record<string, string> = {};
  for (let i = 0; i + 1 < flat.length; i += 2) hash[String(flat[i])] = String(flat[i + 1]);
  return parseRecord(hash);
}

function text(hash: Hash, field: string): string {
  const value = hash[field];
  if (value === undefined) throw new Error(`a record has no ${field}`);
  return value;
}

function whole(hash: Hash, field: string): number {
  const value = Number(text(hash, field));
  if (!Number.isSafeInteger(value)) throw new Error(`a record's ${field} is ${hash[field]}`);
  return value;
}

function flag(hash: Hash, field: string): boolean {
  const value = text(hash, field);
  if (value !== "0" && value !== "1") throw new Error(`a record's ${field} is ${value}`);
  return value === "1";
}

function outcome(hash: Hash, field: string): Outcome {
  return Outcome.parse(json(hash, field));
}

function json<T>(hash: Hash, field: string): T {
  return JSON.parse(text(hash, field)) as T;
}

function optional<T>(read: (hash: Hash, field: string) => T, hash: Hash, field: string): T | undefined {
  return hash[field] === undefined ? undefined : read(hash, field);
}

/** Of so many requests, and none longer than this, it is remembered what they say: those of one caller are often the same. */
const MAX_KNOWN = 256;
const MAX_KNOWN_LENGTH = 4096;
const known = new Map<string, RunRequest>();

function parseRequest(source: string): RunRequest {
  const before = known.get(source);
  if (before) return before;
  const request = RunRequest.parse(JSON.parse(source));
  if (source.length > MAX_KNOWN_LENGTH) return request;
  if (known.size >= MAX_KNOWN) known.clear();
  known.set(source, request);
  return request;
}

/** Names one attempt of one run. */
export const attemptName = ({ id, attempt }: { id: string; attempt: number }): string => `${id}-${attempt}`;
