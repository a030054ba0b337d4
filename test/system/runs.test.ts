// One HTTP call, one fresh container: what a caller sees, with every part real.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Run } from "../../core/run.ts";
import { type Cluster, startCluster } from "../helpers/cluster.ts";
import { buildImage, buildLayer, busyboxImage, busyboxLayer, pushImage } from "../helpers/image-builder.ts";

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster();
});
afterAll(() => cluster.stop());

const sh = (script: string, more: Parameters<Cluster["run"]>[0] = {}) =>
  cluster.run({ command: ["sh", "-c", script], ...more });

describe("what cannot be run", () => {
  const rejected = (code: string) => ({ kind: "rejected", code });

  it("is rejected with image_not_found for an unknown image, tag or digest", async () => {
    const digest = `sha256:${"0".repeat(64)}`;
    const { host } = cluster.registry;
    for (const image of [`${host}/nothing:here`, `${host}/busybox:nothing`, `${host}/busybox@${digest}`]) {
      expect((await cluster.run({ image, command: ["true"] })).outcome).toMatchObject(rejected("image_not_found"));
    }
  });

  it("is rejected with registry_unavailable when the registry is down, after retries that are bounded", async () => {
    const { outcome } = await cluster.run({ image: "127.0.0.1:9/none:1", command: ["true"] });
    expect(outcome).toMatchObject(rejected("registry_unavailable"));
  });

  it("is rejected with invalid_reference for a reference that is none", async () => {
    const { outcome } = await cluster.run({ image: "bad//name:tag", command: ["true"] });
    expect(outcome).toMatchObject(rejected("invalid_reference"));
  });

  it("is rejected with the field's name for a user that the image lacks, and for no program at all", async () => {
    expect((await cluster.run({ command: ["true"], user: "nobody-here" })).outcome).toMatchObject({
      ...rejected("invalid_field"),
      message: expect.stringContaining("user"),
    });
    const { reference } = await pushImage(cluster.registry, "empty:1", await busyboxImage({ Cmd: [] }));
    expect((await cluster.run({ image: reference })).outcome).toMatchObject({
      ...rejected("invalid_field"),
      message: expect.stringContaining("command"),
    });
  });

  it("ends with 127 for a command that the image lacks, with the reason on stderr", async () => {
    const run = await cluster.run({ command: ["no-such-program"] });
    expect(run.outcome).toEqual({ kind: "exited", exitCode: 127 });
    expect(run.stderr?.data).toContain("no-such-program");
  });

  it("is refused with 400 and the field's name before it is queued", async () => {
    const answer = await cluster.fetch("/v1/runs", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ image: cluster.image, limits: { memory: "1B", colour: "red" } }),
    });
    expect(answer.status).toBe(400);
    expect(answer.headers.get("content-type")).toBe("application/problem+json");
    const problem = (await answer.json()) as { errors: { field: string }[] };
    expect(problem.errors.map(({ field }) => field).sort()).toEqual(["limits.colour", "limits.memory"]);
  });
});

it("the gateway is ready, and counts the host that has told of itself", async () => {
  expect(await (await cluster.fetch("/readyz")).json()).toEqual({ ready: true, reasons: [], hosts: 1 });
});

describe("a run", () => {
  it("answers with output, exit code and a receipt", async () => {
    const run = await sh("echo out; echo err >&2; exit 3");
    expect(run).toMatchObject({
      state: "finished",
      outcome: { kind: "exited", exitCode: 3 },
      stdout: { data: "out\n", encoding: "utf8", bytesSeen: 4, truncated: false },
      stderr: { data: "err\n" },
      receipt: {
        imageDigest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
        attempt: 1,
        driver: "launcher",
        oomKills: 0,
      },
    });
    expect(Object.keys(run.receipt?.phases ?? {}).sort()).toEqual([
      "collect",
      "prepare",
      "pull",
      "queue",
      "run",
      "start",
    ]);
    expect(run.receipt?.peakMemoryBytes).toBeGreaterThan(0);
    expect(run.receipt?.cpuMs).toBeGreaterThan(0);
  });

  it("tells its phases in Server-Timing", async () => {
    const { id } = await sh("true");
    const answer = await cluster.fetch(`/v1/runs/${id}`);
    await answer.text();
    expect(answer.headers.get("server-timing")).toMatch(
      /^queue;dur=[\d.]+, pull;dur=[\d.]+, prepare;dur=[\d.]+, start;dur=[\d.]+, run;dur=[\d.]+, collect;dur=[\d.]+, total;dur=[\d.]+$/,
    );
  });

  it("reads its stdin, text or bytes", async () => {
    expect((await cluster.run({ command: ["cat"], stdin: "text\n" })).stdout?.data).toBe("text\n");
    const bytes = Buffer.from([0, 255, 254, 10]);
    const run = await cluster.run({ command: ["cat"], stdin: { base64: bytes.toString("base64") } });
    expect(run.stdout).toMatchObject({ encoding: "base64", data: bytes.toString("base64"), bytesSeen: 4 });
  });

  it("takes stdin that comes after it has started", async () => {
    const { id } = await cluster.submit({ command: ["cat"], stdin: { stream: true } });
    await cluster.reaches(id, "running");
    for (const part of ["one ", "two ", "three"]) {
      const answer = await cluster.fetch(`/v1/runs/${id}/stdin`, {
        method: "POST",
        body: part,
        headers: { "content-type": "application/octet-stream" },
      });
      expect(answer.status).toBe(204);
    }
    await cluster.fetch(`/v1/runs/${id}/stdin?close=true`, { method: "POST" });
    expect((await cluster.get(id, 30)).stdout?.data).toBe("one two three");
  });

  it("honours the image's environment, entrypoint, command, directory and user", async () => {
    const config = {
      Env: ["PATH=/bin", "WHO=image", "KEPT=yes"],
      Entrypoint: ["sh", "-c"],
      Cmd: ["id -un; pwd; echo $WHO $KEPT"],
      WorkingDir: "/srv/app",
      User: "app",
    };
    const { reference } = await pushImage(cluster.registry, "configured:1", await busyboxImage(config));
    expect((await cluster.run({ image: reference })).stdout?.data).toBe("app\n/srv/app\nimage yes\n");
    const over = {
      image: reference,
      env: { WHO: "request" },
      user: "0:0",
      workdir: "/tmp",
      command: ["id -u; pwd; echo $WHO $KEPT"],
    };
    expect((await cluster.run(over)).stdout?.data).toBe("0\n/tmp\nrequest yes\n");
    expect((await cluster.run({ image: reference, entrypoint: ["echo"] })).stdout?.data).toBe("\n");
  });

  it("can be named by digest, and says in its receipt which digest that was", async () => {
    const { byDigest, digest } = await pushImage(
      cluster.registry,
      "by-digest:1",
      await busyboxImage({ Env: ["PATH=/bin", "X=1"] }),
    );
    const run = await cluster.run({ image: byDigest, command: ["true"] });
    expect(run.receipt?.imageDigest).toBe(digest);
  });

  it("shares layers with other images, and does not see a file that a whiteout hides", async () => {
    const base = await busyboxLayer();
    const lower = buildLayer([
      { path: "data/" },
      { path: "data/kept", content: "kept" },
      { path: "data/hidden", content: "hidden" },
      { path: "all/" },
      { path: "all/old", content: "old" },
    ]);
    const upper = buildLayer([
      { path: "data/.wh.hidden", content: "" },
      { path: "all/" },
      { path: "all/.wh..wh..opq", content: "" },
      { path: "all/new", content: "new" },
    ]);
    const config = { Env: ["PATH=/bin"], Cmd: ["sh", "-c", "ls data all"] };
    const whole = await pushImage(cluster.registry, "layers:whole", buildImage({ layers: [base, lower], config }));
    const hidden = await pushImage(
      cluster.registry,
      "layers:hidden",
      buildImage({ layers: [base, lower, upper], config }),
    );
    expect((await cluster.run({ image: whole.reference })).stdout?.data).toBe("all:\nold\n\ndata:\nhidden\nkept\n");
    expect((await cluster.run({ image: hidden.reference })).stdout?.data).toBe("all:\nnew\n\ndata:\nkept\n");
  });

  it("keeps head and tail of output over its cap, counts the rest, and lets the program end well", async () => {
    const run = await sh("seq 1 100000", { limits: { output: "1KiB" } });
    const all = Array.from({ length: 100_000 }, (_, i) => `${i + 1}\n`).join("");
    expect(run.outcome).toEqual({ kind: "exited", exitCode: 0 });
    expect(run.stdout).toMatchObject({ bytesSeen: all.length, bytesKept: 1024, truncated: true });
    const { data = "", bytesHead = 0 } = run.stdout ?? {};
    expect(data.slice(0, bytesHead)).toBe(all.slice(0, bytesHead));
    expect(data.slice(bytesHead)).toBe(all.slice(-(1024 - bytesHead)));
  });

  it("gives its output as raw bytes", async () => {
    const { id } = await sh("printf 'a\\000b'");
    const answer = await cluster.fetch(`/v1/runs/${id}/output/stdout`);
    expect(Buffer.from(await answer.arrayBuffer())).toEqual(Buffer.from("a\0b"));
  });

  it("goes on when the caller hangs up, and can be fetched", async () => {
    const hangUp = new AbortController();
    const label = `hang-up-${Date.now()}`;
    const waiting = cluster.fetch("/v1/runs", {
      method: "POST",
      headers: { "content-type": "application/json", prefer: "wait=60" },
      body: JSON.stringify({ image: cluster.image, command: ["cat"], stdin: { stream: true }, labels: { label } }),
      signal: hangUp.signal,
    });
    const run = await firstWith(label);
    await cluster.reaches(run.id, "running");
    hangUp.abort();
    await expect(waiting).rejects.toThrow();
    await cluster.fetch(`/v1/runs/${run.id}/stdin?close=true`, { method: "POST", body: "still here" });
    expect((await cluster.get(run.id, 30)).stdout?.data).toBe("still here");
  });
});

describe("limits and clocks", () => {
  it("end a program that needs more memory as oom_killed", async () => {
    const run = await cluster.run({ command: ["tail", "/dev/zero"], limits: { memory: "32MiB" } });
    expect(run.outcome).toEqual({ kind: "oom_killed", limit: "32MiB" });
    expect(run.receipt?.oomKills).toBeGreaterThan(0);
  });

  it("do not call an exit with 137 an OOM", async () => {
    expect((await sh("exit 137")).outcome).toEqual({ kind: "exited", exitCode: 137 });
  });

  it("hold a fork bomb", async () => {
    const run = await sh("f() { f | f & }; f; sleep 1; echo alive", {
      limits: { pids: 32 },
      timeouts: { run: "5s", grace: "0s" },
    });
    expect(["exited", "timed_out"]).toContain(run.outcome?.kind);
    expect((await sh("echo the host is well")).stdout?.data).toBe("the host is well\n");
  });

  it("throttle a busy program, and say for how long", async () => {
    const run = await sh("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done", { limits: { cpus: 0.1 } });
    expect(run.receipt?.throttledMs).toBeGreaterThan(0);
  });

  it("end a program at its run clock: SIGTERM first, and the output so far is kept", async () => {
    const run = await sh("trap 'echo asked; exit 0' TERM; echo begun; while :; do sleep 0.05; done", {
      timeouts: { run: "3s" }, // Time enough for a shell to begin.
    });
    expect(run.outcome).toEqual({ kind: "timed_out", clock: "run", limit: "3s" });
    expect(run.stdout?.data).toBe("begun\nasked\n");
  });

  it("end a program that ignores SIGTERM by SIGKILL, when its grace is over", async () => {
    const run = await sh("trap 'echo no' TERM; while :; do sleep 0.05; done", {
      timeouts: { run: "3s", grace: "2s" },
    });
    expect(run.outcome).toEqual({ kind: "timed_out", clock: "run", limit: "3s" });
    expect(run.stdout?.data).toBe("no\n");
  });

  it("tell the signal of a program that crashes", async () => {
    expect((await sh("kill -ABRT $$")).outcome).toEqual({ kind: "signaled", signal: "SIGABRT" });
  });

  it("end a run that no host takes at its queue clock", async () => {
    const run = await cluster.run({ command: ["true"], pool: "empty", timeouts: { queue: "1s" } });
    expect(run.outcome).toEqual({ kind: "timed_out", clock: "queue", limit: "1s" });
  });
});

describe("a run with a policy for retries", () => {
  const backoff = { initial: "10ms", max: "10ms" } as const;

  it("has each attempt in a fresh container, after its back-off, until it ends well or has no attempts left", async () => {
    // Nothing that an attempt leaves behind is there for the next: it would end well.
    const failing = "echo try; test -e /tmp/was-here && exit 0; touch /tmp/was-here; exit 3";
    const run = await sh(failing, { retry: { attempts: 3, backoff } });
    expect(run).toMatchObject({ attempt: 3, outcome: { kind: "exited", exitCode: 3 }, stdout: { data: "try\n" } });
    expect(run.attempts).toMatchObject([
      { attempt: 1, outcome: { kind: "exited", exitCode: 3 }, receipt: { attempt: 1 } },
      { attempt: 2, outcome: { kind: "exited", exitCode: 3 }, receipt: { attempt: 2 } },
    ]);
    const { runs } = (await (await cluster.fetch("/v1/dead-letters")).json()) as { runs: Run[] };
    expect(runs.map(({ id }) => id)).toContain(run.id);
  });

  it("is tried again after its own clock and after the OOM killer, if it names them", async () => {
    const late = await sh("sleep 60", { timeouts: { run: "100ms", grace: "0s" }, retry: { attempts: 2, backoff } });
    expect(late).toMatchObject({ attempt: 2, outcome: { kind: "timed_out", clock: "run" } });
    const large = await sh("x=a; while :; do x=$x$x; done", {
      limits: { memory: "16MiB", disk: "1MiB" },
      retry: { attempts: 2, on: ["oom_killed"], backoff },
    });
    expect(large).toMatchObject({ attempt: 2, outcome: { kind: "oom_killed" } });
  });
});

describe("cancelling", () => {
  const cancel = (id: string) => cluster.fetch(`/v1/runs/${id}/cancel`, { method: "POST" });

  it("ends a queued run at once", async () => {
    const { id } = await cluster.submit({ command: ["true"], pool: "empty" });
    const answer = await cancel(id);
    expect(answer.status).toBe(200);
    expect(((await answer.json()) as Run).outcome).toEqual({ kind: "cancelled" });
  });

  it("ends a running one by SIGTERM, and keeps what it said", async () => {
    const { id } = await cluster.submit({
      command: ["sh", "-c", "trap 'echo asked; exit 0' TERM; echo begun; while :; do sleep 0.05; done"],
    });
    await cluster.says(id, "begun"); // By then it heeds SIGTERM.
    expect((await cancel(id)).status).toBe(202);
    const run = await cluster.get(id, 30);
    expect(run.outcome).toEqual({ kind: "cancelled" });
    expect(run.stdout?.data).toBe("begun\nasked\n");
  });

  it("by force kills one that does not heed SIGTERM, without a grace", async () => {
    const { id } = await cluster.submit({
      command: ["sh", "-c", "trap '' TERM; echo begun; while :; do sleep 0.05; done"],
      timeouts: { grace: "5m" },
    });
    await cluster.says(id, "begun");
    expect((await cancel(id)).status).toBe(202); // It is in its grace now.
    expect((await cluster.fetch(`/v1/runs/${id}/cancel?force=true`, { method: "POST" })).status).toBe(202);
    const run = await cluster.get(id, 30);
    expect([run.state, run.outcome]).toEqual(["finished", { kind: "cancelled" }]);
  });

  it("changes nothing about a run that has ended", async () => {
    const { id } = await sh("exit 9");
    expect((await cancel(id)).status).toBe(200);
    expect((await cluster.get(id)).outcome).toEqual({ kind: "exited", exitCode: 9 });
  });
});

async function firstWith(label: string): Promise<Run> {
  for (;;) {
    const { runs } = (await (await cluster.fetch("/v1/runs?limit=5")).json()) as { runs: Run[] };
    const found = runs.find((run) => run.labels.label === label);
    if (found) return found;
  }
}
