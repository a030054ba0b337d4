import { describe, expect, test } from "vitest";
import { newRunId } from "../../../core/ids.ts";
import { planRun } from "../../../core/plan.ts";
import { parseRecord, type RunRecord } from "../../../core/record.ts";
import type { RunRequest } from "../../../core/request.ts";
import type { Image } from "../../../runtime/index.ts";
import { commandLine, environment, sandboxSpec } from "../../../worker/spec.ts";

const image = (config: Partial<Image["config"]> = {}): Image => ({
  reference: "docker.io/library/busybox:latest",
  digest: "sha256:1",
  manifestDigest: "sha256:1",
  layers: [],
  config: { env: [], entrypoint: ["/entry"], command: ["default"], workdir: "/srv", user: "app", ...config },
});
const request = (more: Partial<RunRequest> = {}): RunRequest => ({ image: "busybox", ...more });

describe("the command line", () => {
  test("of an image and a request that name no program is refused, and the field is named", () => {
    expect(() => commandLine(request(), image({ entrypoint: [], command: [] }).config)).toThrow(
      expect.objectContaining({ reason: "invalid_field", details: { field: "command" } }),
    );
    expect(() => commandLine(request({ command: [] }), image({ entrypoint: [] }).config)).toThrow("names a program");
  });

  test.each<[string, Partial<RunRequest>, string[]]>([
    ["is the image's if the request says nothing", {}, ["/entry", "default"]],
    ["has the request's command in place of the image's", { command: ["a", "b"] }, ["/entry", "a", "b"]],
    ["loses the image's command to an empty one", { command: [] }, ["/entry"]],
    ["loses the image's command to an entrypoint of the request's", { entrypoint: ["/bin/sh"] }, ["/bin/sh"]],
    [
      "is the request's alone if it has both",
      { entrypoint: ["/bin/sh", "-c"], command: ["x"] },
      ["/bin/sh", "-c", "x"],
    ],
  ])("%s", (_, more, expected) => {
    expect(commandLine(request(more), image().config)).toEqual(expected);
  });

  test("is the command alone if there is no entrypoint", () => {
    expect(commandLine(request({ command: ["ls"] }), image({ entrypoint: [] }).config)).toEqual(["ls"]);
  });
});

describe("the terminal", () => {
  const size = { rows: 24, columns: 80 };
  const termOf = (env: string[], more: Partial<RunRequest>) =>
    environment(request(more), image({ env }).config).filter((entry) => entry.startsWith("TERM="));

  test("has a type unless the image or the request names one, and without a terminal there is none", () => {
    expect(termOf([], { terminal: size })).toEqual(["TERM=xterm"]);
    expect(termOf(["TERM=vt100"], { terminal: size })).toEqual(["TERM=vt100"]);
    expect(termOf([], { terminal: size, env: { TERM: "dumb" } })).toEqual(["TERM=dumb"]);
    expect(termOf([], {})).toEqual([]);
  });

  test("has the latest size of the record, and a size alone makes none", () => {
    const record = { id: newRunId(), attempt: 1, request: request({ terminal: size }) } as RunRecord;
    const terminalOf = (of: RunRecord) =>
      sandboxSpec({ record: of, plan: planRun(of.request), image: image(), deadlineMs: 8000 }).terminal;
    expect(terminalOf(record)).toEqual(size);
    expect(terminalOf({ ...record, terminalSize: { rows: 50, columns: 100 } })).toEqual({ rows: 50, columns: 100 });
    expect(terminalOf({ ...record, request: request(), terminalSize: size })).toBeUndefined();
  });
});

describe("the environment", () => {
  const merged = (env: string[], more?: Record<string, string>) =>
    environment(request(more ? { env: more } : {}), image({ env }).config);

  test("is the image's, in its order, with the request's over it and after it", () => {
    expect(merged(["A=1", "B=2"], { C: "3", A: "4" })).toEqual(["A=4", "B=2", "C=3"]);
  });

  test("keeps what follows the first =, and an empty value", () => {
    expect(merged(["A=b=c", "B="], { C: "d=e", D: "" })).toEqual(["A=b=c", "B=", "C=d=e", "D="]);
  });

  test("has each name once: of two in the image the later holds", () => {
    expect(merged(["A=1", "A=2"])).toEqual(["A=2"]);
  });

  test("holds nothing of the worker's own", () => {
    expect(merged([])).toEqual([]);
  });
});

describe("the sandbox's specification", () => {
  const id = newRunId();
  const record = (more: Partial<RunRequest> = {}): RunRecord => {
    const made = parseRecord({
      id,
      tenant: "default",
      state: "starting",
      attempt: "2",
      request: JSON.stringify(request(more)),
      createdAt: "0",
      queuedAt: "0",
    });
    if (!made) throw new Error("no record");
    return made;
  };
  const spec = (more: Partial<RunRequest> = {}) =>
    sandboxSpec({
      record: record(more),
      plan: planRun(request(more)),
      image: image({ env: ["A=1"] }),
      deadlineMs: 8_000,
    });

  test("is named by run and attempt, so that two attempts never share a container", () => {
    expect(spec().id).toBe(`${id}-2`);
    expect(spec().id).toMatch(/^[\w-]+$/);
  });

  test("takes user and directory from the image", () => {
    expect(spec()).toMatchObject({
      user: "app",
      workdir: "/srv",
      deadlineMs: 8_000,
      argv: ["/entry", "default"],
      env: ["A=1"],
    });
  });

  test("takes user and directory from the request if it has them", () => {
    expect(spec({ user: "0:0", workdir: "/tmp" })).toMatchObject({ user: "0:0", workdir: "/tmp" });
  });

  test("tells the program of the run's trace, unless the request says otherwise", () => {
    const traced = (more: Partial<RunRequest> = {}) => {
      const plan = planRun(request(more));
      const traced = { ...record(more), traceparent: "00-a-b-01" };
      return sandboxSpec({ record: traced, plan, image: image({ env: ["A=1"] }), deadlineMs: 8_000 }).env;
    };
    expect(traced()).toEqual(["TRACEPARENT=00-a-b-01", "A=1"]);
    expect(traced({ env: { TRACEPARENT: "mine" } })).toEqual(["TRACEPARENT=mine", "A=1"]);
  });

  test("has a host name that the kernel takes, and the limits of the plan", () => {
    expect(spec().hostname).toMatch(/^[a-z0-9]{1,63}$/);
    expect(spec({ limits: { memory: "1GiB" } }).limits.memoryBytes).toBe(2 ** 30);
  });
});
