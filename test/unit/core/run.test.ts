import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { planRun } from "../../../core/plan.ts";
import { BOUNDS, DEFAULTS, type RunRequest, RunRequest as Schema } from "../../../core/request.ts";
import { Outcome, TRANSITIONS } from "../../../core/run.ts";
import { formatSize } from "../../../core/units.ts";

/** The paths of what is wrong with a request; an unknown field is named by its own path. */
function wrongFields(request: unknown): string[] {
  const result = Schema.safeParse(request);
  return (result.error?.issues ?? []).flatMap((issue) =>
    issue.code === "unrecognized_keys"
      ? issue.keys.map((key) => [...issue.path, key].join("."))
      : [issue.path.join(".") || "(itself)"],
  );
}

const image = "busybox";
const DAY = 86_400_000;

describe("an impossible value is refused, never clamped, and its field is named", () => {
  test.each<[field: string, request: unknown]>([
    ["(itself)", null],
    ["(itself)", []],
    ["image", {}],
    ["image", { image: "" }],
    ["image", { image: "a".repeat(513) }],
    ["image", { image: 7 }],
    ["entrypoint", { image, entrypoint: [] }],
    ["entrypoint.0", { image, entrypoint: ["a\0b"] }],
    ["entrypoint", { image, entrypoint: "sh" }],
    ["command.1", { image, command: ["a", "\0"] }],
    ["command.0", { image, command: [1] }],
    ["command", { image, command: Array(BOUNDS.arguments + 1).fill("a") }],
    ["command", { image, command: ["a".repeat(BOUNDS.argumentBytes)] }],
    ["command", { image, env: { A: "a".repeat(BOUNDS.argumentBytes) } }],
    ["env.A", { image, env: { A: "a\0" } }],
    ["env.A", { image, env: { A: 1 } }],
    ["env.1A", { image, env: { "1A": "" } }],
    ["env.A=B", { image, env: { "A=B": "" } }],
    ["env.", { image, env: { "": "" } }],
    [
      "env",
      { image, env: Object.fromEntries(Array.from({ length: BOUNDS.environment + 1 }, (_, i) => [`A${i}`, ""])) },
    ],
    ["workdir", { image, workdir: "tmp" }],
    ["workdir", { image, workdir: "/\0" }],
    ["workdir", { image, workdir: `/${"a".repeat(4096)}` }],
    ["user", { image, user: "" }],
    ["user", { image, user: "a\0" }],
    ["user", { image, user: "a".repeat(257) }],
    ["stdin.base64", { image, stdin: { base64: "!" } }],
    ["stdin", { image, stdin: { stream: false } }],
    ["stdin", { image, stdin: { base64: "", stream: true } }],
    ["limits.cpus", { image, limits: { cpus: 0 } }],
    ["limits.cpus", { image, limits: { cpus: BOUNDS.cpus.max + 1 } }],
    ["limits.cpus", { image, limits: { cpus: "1" } }],
    ["limits.memory", { image, limits: { memory: formatSize(BOUNDS.memory.min - 1), disk: "64KiB" } }],
    ["limits.memory", { image, limits: { memory: formatSize(BOUNDS.memory.max + 1) } }],
    ["limits.memory", { image, limits: { memory: "1" } }],
    ["limits.memory", { image, limits: { memory: 268_435_456 } }],
    ["limits.pids", { image, limits: { pids: 0 } }],
    ["limits.pids", { image, limits: { pids: 1.5 } }],
    ["limits.pids", { image, limits: { pids: BOUNDS.pids.max + 1 } }],
    ["limits.disk", { image, limits: { disk: formatSize(BOUNDS.disk.min - 1) } }],
    ["limits.output", { image, limits: { output: formatSize(BOUNDS.output.max + 1) } }],
    ["timeouts.queue", { image, timeouts: { queue: "999ms" } }],
    ["timeouts.queue", { image, timeouts: { queue: "7d1ms" } }],
    ["timeouts.start", { image, timeouts: { start: "999ms" } }],
    ["timeouts.start", { image, timeouts: { start: "1h1ms" } }],
    ["timeouts.run", { image, timeouts: { run: "99ms" } }],
    ["timeouts.run", { image, timeouts: { run: "7d1ms" } }],
    ["timeouts.grace", { image, timeouts: { grace: "300001ms" } }],
    ["timeouts.grace", { image, timeouts: { grace: "-1s" } }],
    ["network", { image, network: "host" }],
    ["retries", { image, retries: -1 }],
    ["retries", { image, retries: 11 }],
    ["priority", { image, priority: -1 }],
    ["priority", { image, priority: BOUNDS.priority.max + 1 }],
    ["labels.", { image, labels: { "": "" } }],
    ["labels.a", { image, labels: { a: "a".repeat(BOUNDS.labelBytes + 1) } }],
    [
      "labels",
      { image, labels: Object.fromEntries(Array.from({ length: BOUNDS.labels + 1 }, (_, i) => [`a${i}`, ""])) },
    ],
    ["pool", { image, pool: "" }],
    ["pool", { image, pool: "A" }],
    ["pool", { image, pool: "a:b" }],
    ["pool", { image, pool: "a".repeat(64) }],
    ["webhook.url", { image, webhook: {} }],
    ["webhook.url", { image, webhook: { url: "/hook" } }],
    ["webhook.url", { image, webhook: { url: "file:///etc/passwd" } }],
    ["webhook.url", { image, webhook: { url: "https://user@example.com/" } }],
    ["webhook.url", { image, webhook: { url: "https://example.com/#a" } }],
    ["webhook.url", { image, webhook: { url: `https://example.com/${"a".repeat(2048)}` } }],
    ["webhook.secret", { image, webhook: { url: "https://example.com/", secret: "s" } }],
    ["webhook", { image, webhook: "https://example.com/" }],
  ])("%s", (field, request) => {
    expect(wrongFields(request)).toEqual([field]);
  });
});

describe("a field that does not exist is refused by name", () => {
  test.each([
    ["cmd", { image, cmd: [] }],
    ["privileged", { image, privileged: true }],
    ["limits.mem", { image, limits: { mem: "1GiB" } }],
    ["timeouts.total", { image, timeouts: { total: "1s" } }],
  ])("%s", (field, request) => {
    expect(wrongFields(request)).toEqual([field]);
  });

  test("whatever its name is", () => {
    const known = new Set(Object.keys(Schema.shape));
    const names = fc.string({ minLength: 1 }).filter((name) => !known.has(name) && name !== "__proto__");
    fc.assert(
      fc.property(
        names,
        fc.jsonValue(),
        (name, value) => void expect(wrongFields({ image, [name]: value })).toEqual([name]),
      ),
    );
  });
});

test("several faults are all named", () => {
  expect(wrongFields({ image: "", limits: { pids: 0 }, extra: 1 }).toSorted()).toEqual([
    "extra",
    "image",
    "limits.pids",
  ]);
});

describe("disk is held in memory, and so", () => {
  test("more of it than memory is refused", () => {
    expect(wrongFields({ image, limits: { memory: "64MiB", disk: "65MiB" } })).toEqual(["limits.disk"]);
    expect(wrongFields({ image, limits: { disk: "257MiB" } })).toEqual(["limits.disk"]);
  });

  test("as much as memory is allowed", () => {
    expect(wrongFields({ image, limits: { memory: "64MiB", disk: "64MiB" } })).toEqual([]);
  });

  test("its default gives way to a smaller memory", () => {
    expect(planRun({ image, limits: { memory: "32MiB" } }).limits.diskBytes).toBe(32 * 2 ** 20);
  });
});

test("each bound itself is allowed", () => {
  expect(
    wrongFields({
      image: "a".repeat(512),
      command: Array(BOUNDS.arguments).fill("a"),
      limits: { cpus: BOUNDS.cpus.min, memory: "16MiB", pids: BOUNDS.pids.max, disk: "64KiB", output: "0B" },
      timeouts: { queue: "7d", start: "1h", run: "100ms", grace: "0s" },
      retries: 10,
      priority: BOUNDS.priority.max,
      pool: "a".repeat(63),
    }),
  ).toEqual([]);
});

test.each([["text"], [{ base64: "AP8=" }], [{ stream: true }], [""]])("stdin may be %j", (stdin) => {
  expect(wrongFields({ image, stdin })).toEqual([]);
});

test("a plan fills in the defaults, in numbers", () => {
  expect(planRun({ image })).toEqual({
    limits: { cpus: 1, memoryBytes: 256 * 2 ** 20, pids: 128, diskBytes: 64 * 2 ** 20, outputBytes: 2 ** 20 },
    timeouts: { queueMs: 600_000, startMs: 120_000, runMs: 60_000, graceMs: 10_000 },
    demand: { cpus: 1, memoryBytes: 256 * 2 ** 20, pids: 129 },
    size: 1,
    due: { afterMs: 0 },
    concurrency: undefined,
    retries: 0,
    priority: 0,
    pool: "default",
  });
});

test("a plan has what was asked for", () => {
  const request: RunRequest = {
    image,
    limits: { cpus: 2.5, memory: "1GiB", pids: 7, disk: "1MiB", output: "0B" },
    timeouts: { queue: "1s", start: "2s", run: "7d", grace: "0s" },
    retries: 3,
    priority: 9,
    pool: "gpu",
    notBefore: "2026-01-31T08:00:00+01:00",
    concurrency: { key: "customer-17", max: 2 },
  };
  expect(planRun(request)).toEqual({
    limits: { cpus: 2.5, memoryBytes: 2 ** 30, pids: 7, diskBytes: 2 ** 20, outputBytes: 0 },
    timeouts: { queueMs: 1_000, startMs: 2_000, runMs: 7 * DAY, graceMs: 0 },
    demand: { cpus: 2.5, memoryBytes: 2 ** 30, pids: 8 },
    size: 2.5,
    due: { atMs: Date.UTC(2026, 0, 31, 7) },
    concurrency: { key: "customer-17", max: 2 },
    retries: 3,
    priority: 9,
    pool: "gpu",
  });
});

test("a plan of what the schema did not read is a bug, and throws", () => {
  expect(() => planRun({ image, limits: { memory: "much" } })).toThrow("unparsed");
});

test("the documented defaults are within the bounds", () => {
  const { cpus, pids, memory, disk, output, ...timeouts } = DEFAULTS;
  expect(wrongFields({ image, limits: { cpus, pids, memory, disk, output }, timeouts })).toEqual([]);
});

test("every state but the last can be left, and every move leads to a state that there is", () => {
  for (const [state, next] of Object.entries(TRANSITIONS)) {
    expect(next.length > 0).toBe(state !== "finished");
    for (const to of next) expect(Object.keys(TRANSITIONS)).toContain(to);
  }
});

test.each([
  { kind: "exited", exitCode: 256 },
  { kind: "exited", exitCode: -1 },
  { kind: "exited" },
  { kind: "signaled", signal: "SIGKILL", exitCode: 137 },
  { kind: "timed_out", clock: "grace", limit: "1s" },
  { kind: "rejected", code: "no such reason", message: "" },
  { kind: "crashed" },
])("%j is no outcome", (value) => {
  expect(Outcome.safeParse(value).success).toBe(false);
});
