import { expect, test } from "vitest";
import { newRunId } from "../../../core/ids.ts";
import { parseRecord, type RunRecord } from "../../../core/record.ts";
import { Run } from "../../../core/run.ts";
import { serverTiming, toRun } from "../../../gateway/answer.ts";
import { factsOf } from "../../helpers/fake-worker.ts";

const id = newRunId();

function finished(stdout: Buffer, more: Record<string, string> = {}): RunRecord {
  const record = parseRecord({
    id,
    tenant: "acme",
    state: "finished",
    attempt: "1",
    request: '{"image":"busybox","labels":{"a":"b"},"env":{"PASSWORD":"hunter2"}}',
    createdAt: "0",
    queuedAt: "0",
    startedAt: "1",
    finishedAt: "2",
    outcome: '{"kind":"exited","exitCode":0}',
    receipt: '{"host":"h","driver":"oci","attempt":1,"phases":{"run":5,"queue":0.9,"collect":1}}',
    stdout: JSON.stringify(factsOf(stdout)),
    stderr: JSON.stringify(factsOf(Buffer.alloc(0))),
    ...more,
  });
  if (!record) throw new Error("no record");
  return record;
}

const answer = (stdout: Buffer) => toRun(finished(stdout), { stdout, stderr: Buffer.alloc(0) });

test.each([
  ["a byte that begins nothing", Buffer.from([0x61, 0xff])],
  ["a character that was cut", Buffer.from("é").subarray(0, 1)],
  ["control characters for the most part, which JSON would blow up", Buffer.alloc(1000, "\0a")],
  ["a surrogate", Buffer.from([0xed, 0xa0, 0x80])],
  ["an overlong form", Buffer.from([0xc0, 0x80])],
])("output with %s is sent in base 64, and nothing is replaced", (_, bytes) => {
  expect(answer(bytes).stdout).toMatchObject({ encoding: "base64", data: bytes.toString("base64") });
});

test.each([
  ["nothing", ""],
  ["a NUL among other characters", `a${"b".repeat(100)}\0`],
  ["colours and bells", `\x1b[31m${"error ".repeat(20)}\x07`],
  ["a byte order mark", "\ufeffa"],
  ["characters of four bytes", "🦟"],
])("output with %s is sent as text, unchanged", (_, text) => {
  expect(answer(Buffer.from(text)).stdout).toMatchObject({ encoding: "utf8", data: text });
});

test("an answer has the shape that is documented, and nothing of the request but image and labels", () => {
  const run = answer(Buffer.from("hello\n"));
  expect(Run.safeParse(run).error).toBeUndefined();
  expect(run).toMatchObject({ id, image: "busybox", labels: { a: "b" }, outcome: { kind: "exited", exitCode: 0 } });
  expect(JSON.stringify(run)).not.toContain("hunter2");
});

test("in a list there is no output", () => {
  expect(toRun(finished(Buffer.from("hello")))).not.toHaveProperty("stdout");
});

test("phases are told in the order in which they happen", () => {
  expect(serverTiming(finished(Buffer.alloc(0)))).toBe("queue;dur=0.9, run;dur=5, collect;dur=1");
});
