import { describe, expect, it } from "vitest";
import { parseFlags } from "../../../cli/flags.ts";
import { FLAG_OF_FIELD, RUN_FLAGS } from "../../../cli/run-flags.ts";
import { buildRequest } from "../../../cli/run-request.ts";
import { UsageError } from "../../../cli/usage-error.ts";

const files: Record<string, string> = { "vars.env": "FILE=yes\nA=file" };
const readFile = (path: string): string => {
  const text = files[path];
  if (text === undefined) throw new Error("no such file");
  return text;
};

const terminal = { isInput: true, isOutput: true, size: () => ({ rows: 50, columns: 132 }) };

const request = (...args: string[]) => {
  const { flags, operands } = parseFlags(args, RUN_FLAGS, { stopAtOperand: true });
  return buildRequest(flags, operands, { env: { HOME: "/home/me" }, readFile, terminal });
};

describe("the request of mayfly run", () => {
  it("holds nothing but the image when nothing else was said", () => {
    expect(request("busybox")).toEqual({ image: "busybox" });
  });

  it("leaves docker's habits out", () => {
    expect(request("--rm", "--network", "none", "busybox")).toEqual({ image: "busybox", network: "none" });
  });

  it("has every flag in its own field", () => {
    const flags =
      "-e A=1 -e HOME --env-file vars.env -w /srv -u 1000:1000 -m 64m --cpus 0.5 --pids-limit 20 --disk 1m --output-limit 2MiB " +
      "--timeout 5s --queue-timeout 1m --grace 0s -l build=17 --label nightly --retries 2 --priority 9 --pool gpu --webhook https://example.com/hook --pull always --entrypoint /bin/sh -i";
    expect(request(...flags.split(" "), "busybox", "-c", "true")).toEqual({
      image: "busybox",
      pull: "always",
      entrypoint: ["/bin/sh"],
      command: ["-c", "true"],
      env: { FILE: "yes", A: "1", HOME: "/home/me" },
      workdir: "/srv",
      user: "1000:1000",
      stdin: { stream: true },
      limits: { memory: "64MiB", cpus: 0.5, pids: 20, disk: "1MiB", output: "2MiB" },
      timeouts: { run: "5s", queue: "1m", grace: "0s" },
      labels: { build: "17", nightly: "" },
      retries: 2,
      priority: 9,
      pool: "gpu",
      webhook: { url: "https://example.com/hook" },
    });
  });

  it("has when it is to start, and when it is to be tried again", () => {
    const flags =
      "--delay 5m --concurrency a:b:2 --retry 3 --retry-on exited,lost --retry-on timed_out --retry-delay 2s";
    expect(request(...flags.split(" "), "busybox")).toEqual({
      image: "busybox",
      delay: "5m",
      concurrency: { key: "a:b", max: 2 },
      retry: { attempts: 3, on: ["exited", "lost", "timed_out"], backoff: { initial: "2s" } },
    });
    expect(request("--not-before", "2030-01-31T08:00:00+01:00", "busybox").notBefore).toBe("2030-01-31T08:00:00+01:00");
    expect(request("--retry", "2", "busybox").retry).toEqual({ attempts: 2 });
  });

  it.each([
    [["--delay", "5"], "--delay is not a duration"],
    [["--delay", "367d"], "--delay is more than 366d"],
    [["--not-before", "tomorrow"], "--not-before is not a moment such as"],
    [["--delay", "1m", "--not-before", "2030-01-31T08:00:00Z"], "--not-before and delay exclude each other"],
    [["--concurrency", "key"], '--concurrency "key" is not KEY:MAX'],
    [["--concurrency", "key:0"], "--concurrency max "],
    [["--retry", "21"], "--retry attempts "],
    [["--retry", "two"], '--retry "two" is not a number'],
    [["--retry", "2", "--retry-on", "never"], "--retry-on"],
    [["--retry", "2", "--retry-delay", "10m"], "--retry-delay is more than backoff.max"],
    [["--retry-on", "lost"], "need --retry NUMBER"],
    [["-t", "--file", "a:/a"], "-t and --file exclude each other"],
    [["-t", "--upload", "a:/a"], "-t and --upload exclude each other"],
  ])("names the flag that is wrong: %j", (flags, message) => {
    expect(() => request(...flags, "busybox")).toThrow(message);
  });

  it("takes only a policy that there is for --pull, and names the flag", () => {
    expect(() => request("--pull", "sometimes", "busybox")).toThrow(/--pull/);
  });

  it("with -t has the terminal's size, and the time and room of a session unless told otherwise", () => {
    const session = { terminal: { rows: 50, columns: 132 }, limits: { output: "16MiB" }, timeouts: { run: "1h" } };
    expect(request("-t", "busybox")).toEqual({ image: "busybox", ...session });
    expect(request("-it", "busybox", "sh", "-t")).toEqual({
      image: "busybox",
      command: ["sh", "-t"],
      stdin: { stream: true },
      ...session,
    });
    expect(request("-t", "--timeout", "5s", "--output-limit", "1m", "busybox")).toMatchObject({
      limits: { output: "1MiB" },
      timeouts: { run: "5s" },
    });
  });

  it("does without the image's entrypoint when that is given as empty, as docker does", () => {
    expect(request("--entrypoint", "", "busybox", "ls", "-l")).toEqual({
      image: "busybox",
      entrypoint: ["ls"],
      command: ["-l"],
    });
    expect(() => request("--entrypoint=", "busybox")).toThrow(
      new UsageError('--entrypoint "" needs a COMMAND after IMAGE'),
    );
  });

  it.each([
    [["-m", "1k"], "--memory is less than 16MiB"],
    [["-m", "256mb"], '--memory "256mb" is not a size such as "256MiB", or docker\'s "256m" or "1g"'],
    [["--cpus", "many"], '--cpus "many" is not a number such as 2 or 0.5'],
    [["--retries", "-1"], '--retries "-1" is not a number such as 2 or 0.5'],
    [["--timeout", "5"], '--timeout is not a duration with units, such as "500ms", "30s" or "1h30m"'],
    [["-w", "relative"], "--workdir must be absolute"],
    [["--webhook", "example.com"], "--webhook is not a URL"],
    [["--env-file", "gone.env"], "--env-file gone.env: no such file"],
    [["-d", "-i"], "-d and -i exclude each other: once detached, nobody is left to send the input"],
    [["--disk", "1g"], "--disk is more than limits.memory, in which it is held"],
  ])("is refused for %j, and the message names the flag", (flags, message) => {
    expect(() => request(...flags, "busybox")).toThrow(new UsageError(message));
  });

  it("tells all problems of the values at once", () => {
    expect(() => request("--grace", "1", "-u", "", "-w", "x", "busybox")).toThrow(/--workdir.*--user.*--grace/s);
  });

  it("names only flags that there are in its messages", () => {
    for (const flag of Object.values(FLAG_OF_FIELD).filter((name) => name.startsWith("--"))) {
      expect(Object.keys(RUN_FLAGS)).toContain(flag.slice(2));
    }
  });
});
