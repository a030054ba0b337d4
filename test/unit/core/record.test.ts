import { expect, test } from "vitest";
import { newRunId } from "../../../core/ids.ts";
import { parseFlatRecord, parseRecord } from "../../../core/record.ts";

const id = newRunId();
const QUEUED = {
  id,
  tenant: "acme",
  state: "queued",
  attempt: "1",
  request: '{"image":"busybox","stdin":""}',
  stdinClosed: "0",
  createdAt: "1700000000000",
  queuedAt: "1700000000000",
};

test.each<[string, Record<string, string>]>([
  ["a state there is not", { ...QUEUED, state: "paused" }],
  ["a request that is no JSON", { ...QUEUED, request: "{" }],
  ["a request that is none", { ...QUEUED, request: '{"image":""}' }],
  ["a flag that is neither 0 nor 1", { ...QUEUED, stdinClosed: "true" }],
  ["an attempt that is no number", { ...QUEUED, attempt: "one" }],
  ["an outcome of no kind", { ...QUEUED, outcome: '{"kind":"vanished"}' }],
  ["no tenant", Object.fromEntries(Object.entries(QUEUED).filter(([name]) => name !== "tenant"))],
])("a record with %s is a fault, and throws", (_, hash) => {
  expect(() => parseRecord(hash)).toThrow();
});

test("the empty hash is no record", () => {
  expect(parseRecord({})).toBeUndefined();
  expect(parseFlatRecord([])).toBeUndefined();
});

test("strings become typed values, and flags that are not there are false", () => {
  expect(parseRecord(QUEUED)).toEqual({
    id,
    tenant: "acme",
    state: "queued",
    attempt: 1,
    startedAttempts: 0,
    retried: 0,
    request: { image: "busybox", stdin: "" },
    stdinClosed: false,
    cancelRequested: false,
    createdAt: 1_700_000_000_000,
    queuedAt: 1_700_000_000_000,
  });
});

test("a flat list of fields and values is the same record", () => {
  expect(parseFlatRecord(Object.entries(QUEUED).flat())).toEqual(parseRecord(QUEUED));
});
