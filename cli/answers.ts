// The gateway's JSON answers, checked against the schemas that both sides share.

import { Run } from "../core/run.ts";
import { invalidAnswer } from "./client-error.ts";

/** What every schema of core/ offers, as far as it is needed here. */
interface Schema<T> {
  safeParse(value: unknown): { success: true; data: T } | { success: false; error: { issues: readonly Issue[] } };
}

interface Issue {
  readonly code?: string | undefined;
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** A page of runs, newest first, without their output. `next` is the cursor of the page after it. */
export interface RunPage {
  readonly runs: readonly Run[];
  readonly next: string | undefined;
}

/**
 * The value as the schema has it. Fields that the schema does not know are left out, so that a client may be older than
 * its gateway; everything else that is wrong throws ClientError `answer_invalid`.
 */
export function parseAnswer<T>(schema: Schema<T>, value: unknown): T {
  const first = schema.safeParse(value);
  if (first.success) return first.data;
  const issues = first.error.issues;
  const again = issues.every(isUnknownField) ? schema.safeParse(without(value, issues)) : first;
  if (again.success) return again.data;
  const [issue] = again.error.issues;
  throw invalidAnswer(`the gateway's answer is not as expected: ${issue?.path.join(".")}: ${issue?.message}`);
}

export const parseRun = (value: unknown): Run => parseAnswer(Run, value);

export function parseRunPage(value: unknown): RunPage {
  if (!isObject(value) || !Array.isArray(value.runs)) throw invalidAnswer("the gateway's list of runs is not one");
  const { next } = value;
  return { runs: value.runs.map(parseRun), next: typeof next === "string" ? next : undefined };
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isUnknownField(issue: Issue): issue is Issue & { keys: string[] } {
  return issue.code === "unrecognized_keys" && "keys" in issue;
}

function without(value: unknown, issues: readonly Issue[]): unknown {
  const copy: unknown = structuredClone(value);
  for (const issue of issues.filter(isUnknownField)) {
    const owner = issue.path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown>)[key], copy);
    for (const key of issue.keys) delete (owner as Record<string, unknown>)[key];
  }
  return copy;
}
