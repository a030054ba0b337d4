// What goes into a run, with every part real: bytes by the raw route, files.

import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Cluster, startCluster, type WorkerUnderTest } from "../helpers/cluster.ts";
import { tar } from "../helpers/tar-builder.ts";

let cluster: Cluster;
let worker: WorkerUnderTest;
let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "mayfly-inputs-"));
  const env = { MAYFLY_SECRETS_KEY_FILE: join(directory, "keys") };
  await writeFile(env.MAYFLY_SECRETS_KEY_FILE, `k1 ${randomBytes(32).toString("base64")}\n`, { mode: 0o600 });
  cluster = await startCluster({ workers: 0, gatewayEnv: env });
  worker = await cluster.startWorker(env);
});
afterAll(async () => {
  await cluster.stop();
  await rm(directory, { recursive: true, force: true });
});

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

describe("an upload", () => {
  const send = async (entries: Parameters<typeof tar>[0]) => {
    const headers = { "content-type": "application/x-tar" };
    const answer = await cluster.fetch("/v1/uploads", { method: "POST", headers, body: new Uint8Array(tar(entries)) });
    expect(answer.status).toBe(201);
    return ((await answer.json()) as { id: string }).id;
  };

  it("is there when the program starts, its user's, with the request's own files over it, for as many runs as name it", async () => {
    const bytes = randomBytes(20 * 2 ** 20);
    const id = await send([
      { path: "script", content: "#!/bin/sh\nstat -c '%n %U %a' *\nsha256sum < data\ncat over -\n", mode: 0o755 },
      { path: "data", content: bytes },
      { path: "empty/" },
      { path: "over", content: "uploaded" },
    ]);
    const request = {
      upload: { id, path: "/in/here" },
      files: [{ path: "/in/here/over", content: "sent", mode: "0600" }],
      ...{ command: ["/in/here/script"], workdir: "/in/here", user: "app", stdin: ", and input" },
    };
    const runs = await Promise.all([1, 2, 3].map(() => cluster.run(request)));
    const sum = createHash("sha256").update(bytes).digest("hex");
    const found = "data app 644\nempty app 755\nover app 600\nscript app 755\n";
    for (const run of runs) expect(run.stdout?.data).toBe(`${found}${sum}  -\nsent, and input`);
    const url = await raw(`command=cat&command=/work/over&upload=${id}`);
    expect([url.status, await url.text()]).toEqual([200, "uploaded"]);
  });

  it("that does not fit is a rejection that names the file", async () => {
    const id = await send([
      { path: "fits", content: "x" },
      { path: "big", content: randomBytes(2 * 2 ** 20) },
      { path: "never", content: randomBytes(8 * 2 ** 20) },
    ]);
    const run = await cluster.run({ upload: { id }, command: ["true"], limits: { disk: "1MiB" } });
    expect(run.outcome).toMatchObject({
      ...{ kind: "rejected", code: "invalid_field" },
      message: expect.stringContaining("upload: /work/big cannot be written: No space left"),
    });
  });
});

describe("a secret", () => {
  it("is what the program finds in its environment, and in no log, of the worker neither", async () => {
    const value = "a-secret-that-is-looked-for";
    const answer = await cluster.fetch("/v1/secrets/token", {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ value }),
    });
    expect(answer.status).toBe(200);
    const script = 'printf %s "$TOKEN" | sha256sum';
    const run = await cluster.run({ command: ["sh", "-c", script], secretEnv: { TOKEN: "token" } });
    expect(run.stdout?.data).toBe(`${createHash("sha256").update(value).digest("hex")}  -\n`);
    const failed = await cluster.run({ command: ["no-such-program"], secretEnv: { TOKEN: "token" } });
    const byUrl = await raw("command=env&secretEnv=TOKEN%3Dtoken");
    expect(await byUrl.text()).toContain(`TOKEN=${value}\n`);
    const told = JSON.stringify([run, failed, cluster.gateway.lines, worker.process.lines]);
    expect(told).toContain(run.id);
    expect(told).not.toContain(value);
  });
});
