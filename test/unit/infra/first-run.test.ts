import { execFileSync } from "node:child_process";
import { createServer, type Server } from "node:http";
import { afterEach, describe, expect, it } from "vitest";
import { curlFor, phaseTable, runOnce, textOf } from "../../../infra/first-run.ts";

const BODY = { image: "127.0.0.1:5000/busybox", command: ["echo", "it's"] };

let server: Server | undefined;

afterEach(() => new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined))));

function gatewayThatAnswers(status: number, body: unknown): Promise<string> {
  const answering = createServer((_, response) => response.writeHead(status).end(JSON.stringify(body)));
  server = answering;
  return new Promise((resolve) => {
    answering.listen(0, "127.0.0.1", () =>
      resolve(`http://127.0.0.1:${(answering.address() as { port: number }).port}`),
    );
  });
}

const finished = (exitCode: number) => ({
  id: "run_1",
  outcome: { kind: "exited", exitCode },
  stdout: { encoding: "base64", data: "/w==" },
  stderr: { encoding: "utf8", data: "what went wrong\n" },
  receipt: { phases: { queue: 1.23, run: 40 } },
});

describe("the quickstart's run", () => {
  it("is given back when its program exited 0", async () => {
    const { run } = await runOnce(await gatewayThatAnswers(200, finished(0)), BODY);
    expect(run.id).toBe("run_1");
  });

  it("fails with the outcome and stderr of a program that exited otherwise", async () => {
    const url = await gatewayThatAnswers(200, finished(2));
    await expect(runOnce(url, BODY)).rejects.toThrow(/"exitCode":2[\s\S]*what went wrong/);
  });

  it("fails with the gateway's own words when the run is refused", async () => {
    const url = await gatewayThatAnswers(503, { title: "Redis does not answer." });
    await expect(runOnce(url, BODY)).rejects.toThrow(/answered 503: .*Redis does not answer/);
  });

  it("fails when it is not over in time", async () => {
    await expect(runOnce(await gatewayThatAnswers(202, {}), BODY)).rejects.toThrow("not over within 60 s");
  });

  it("is shown as a command that a shell reads as the very same request", () => {
    const script = `curl() { for each in "$@"; do printf '%s\\n' "$each"; done; }\n${curlFor("http://g", BODY)}`;
    const words = execFileSync("sh", ["-c", script], { encoding: "utf8" }).trimEnd().split("\n");
    expect(words.slice(0, 5)).toEqual([
      "http://g/v1/runs",
      "-H",
      "content-type: application/json",
      "-H",
      "prefer: wait=60",
    ]);
    expect(JSON.parse(String(words.at(-1)))).toEqual(BODY);
  });

  it("has its phases in a table, with a dash for one that did not happen", async () => {
    const answered = { run: finished(0), ms: 50 } as Parameters<typeof phaseTable>[0];
    const rows = phaseTable(answered, answered)
      .split("\n")
      .map((row) => row.trim().split(/ +/));
    expect(rows).toContainEqual(["queue", "1.2", "1.2"]);
    expect(rows).toContainEqual(["pull", "-", "-"]);
    expect(rows.at(-1)).toEqual(["in", "all", "50.0", "50.0"]);
  });

  it("has output that is no text decoded from base64", () => {
    expect(textOf({ encoding: "base64", data: "aGk=" })).toBe("hi");
    expect(textOf(undefined)).toBe("");
  });
});
