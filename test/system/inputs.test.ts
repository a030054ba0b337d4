// What goes into a run, with every part real: bytes by the raw route, files.

import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Cluster, startCluster } from "../helpers/cluster.ts";

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster();
});
afterAll(() => cluster.stop());

const raw = (query: string, body?: string | Buffer) =>
  cluster.fetch(`/v1/run/${cluster.image}?${query}`, {
    method: "POST",
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : new Uint8Array(body) }),
  });

describe("POST /v1/run/{image}", () => {
  it.each([
    ["nothing", 0],
    ["a few bytes", 7],
    ["more than is stored with the run", 3 * 2 ** 20 + 1],
  ])("puts %s through a program and answers with it, to the byte", async (_, length) => {
    const body = randomBytes(length);
    const response = await raw("command=cat&output=16MiB", body);
    expect(response.status).toBe(200);
    expect(Buffer.from(await response.arrayBuffer()).equals(body)).toBe(true);
    expect(response.headers.get("mayfly-exit-code")).toBe("0");
    expect(response.headers.get("server-timing")).toMatch(/run;dur=/);
  });

  it("is 422 when the program fails, with its stdout and its exit code", async () => {
    const response = await raw("command=sh&command=-c&command=cat;exit+3", "half");
    expect([response.status, await response.text()]).toEqual([422, "half"]);
    expect(response.headers.get("mayfly-exit-code")).toBe("3");
  });

  it("is answered by a program that reads little of what it is sent", async () => {
    const response = await raw("command=head&command=-c&command=3", Buffer.alloc(2 ** 20, "a"));
    expect([response.status, await response.text()]).toEqual([200, "aaa"]);
  });

  it("is 504 when a clock runs out, and says how much was left out of a long output", async () => {
    expect((await raw("command=sleep&command=60&timeout=200ms")).status).toBe(504);
    const long = await raw("command=head&command=-c&command=100000&command=/dev/zero&output=1KiB");
    expect(long.headers.get("mayfly-stdout-truncated")).toBe("100000");
  });

  it("is 404 for an image that there is not", async () => {
    const response = await cluster.fetch(`/v1/run/${cluster.registry.host}/nothing:here`, { method: "POST" });
    expect([response.status, ((await response.json()) as { reason: string }).reason]).toEqual([404, "image_not_found"]);
  });
});

describe("files", () => {
  it("are there when the program starts, its user's, and its stdin comes after them", async () => {
    const bytes = randomBytes(2 ** 20);
    const run = await cluster.run({
      files: [
        {
          path: "/work/script",
          content: "#!/bin/sh\nstat -c '%U %a' /work/script\nwc -c < /work/data\ncat\n",
          mode: "0755",
        },
        { path: "/work/data", base64: bytes.toString("base64") },
      ],
      command: ["/work/script"],
      user: "app",
      stdin: "and its input",
    });
    expect(run.stdout?.data).toBe("app 755\n1048576\nand its input");
    expect(run.outcome).toEqual({ kind: "exited", exitCode: 0 });
  });

  it("that do not fit are a rejection that names the file", async () => {
    const run = await cluster.run({
      files: [{ path: "/a", content: "a".repeat(200_000) }],
      command: ["true"],
      limits: { disk: "64KiB" },
    });
    expect(run.outcome).toMatchObject({
      kind: "rejected",
      code: "invalid_field",
      message: expect.stringContaining("files.0 cannot be written: No space left"),
    });
  });
});
