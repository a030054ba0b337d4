// What is wrong with an input, in words that name the field and the limit: the same over HTTP and on the command line.

import type { z } from "zod";

/** `path` leads to the field, and is empty for the whole. */
export interface Problem {
  readonly path: readonly string[];
  readonly message: string;
}

type Issue = z.core.$ZodIssue;

/** At most `limit` problems; an unknown field is named as a field, not as a fault of what holds it. */
export function describeIssues(error: z.ZodError, limit: number): Problem[] {
  return error.issues
    .slice(0, limit)
    .flatMap((issue) => describe(issue))
    .slice(0, limit);
}

function describe(issue: Issue): Problem[] {
  const path = issue.path.map(String);
  if (issue.code === "unrecognized_keys")
    return issue.keys.map((key) => ({ path: [...path, key], message: "is not a field" }));
  return [{ path, message: messageOf(issue) }];
}

function messageOf(issue: Issue): string {
  switch (issue.code) {
    case "invalid_type":
      return issue.message.endsWith("received undefined") ? "is required" : `is not of the type ${issue.expected}`;
    case "too_small":
      return isLength(issue.origin)
        ? `has fewer than ${issue.minimum} ${unitOf(issue.origin)}`
        : `is less than ${issue.minimum}`;
    case "too_big":
      return isLength(issue.origin)
        ? `has more than ${issue.maximum} ${unitOf(issue.origin)}`
        : `is more than ${issue.maximum}`;
    case "invalid_value":
      return `is not ${issue.values.map((value) => JSON.stringify(value)).join(" or ")}`;
    case "invalid_key":
      return issue.issues[0] ? `as a name ${messageOf(issue.issues[0])}` : issue.message;
    default:
      return issue.message;
  }
}

function isLength(origin: string): boolean {
  return origin === "string" || origin === "array";
}

function unitOf(origin: string): string {
  return origin === "string" ? "characters" : "items";
}
