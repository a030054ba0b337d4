// What a run leaves, with every part real: over HTTP, by the command, and of a program whose time is over.

import { createHash } from "node:crypto";
import { lstat, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { ArtifactList } from "../../core/artifacts.ts";
import { finished, startProcess } from "../../runtime/host/command.ts";
import { type Cluster, startCluster } from "../helpers/cluster.ts";
import { ROOT } from "../helpers/process.ts";

let cluster: Cluster;
let directory: string;
beforeAll(async () => {
  cluster = await startCluster();
});
afterAll(() => cluster.stop());
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "mayfly-artifacts-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function mayfly(...args: string[]): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  const child = startProcess([join(ROOT, "cli/mayfly"), ...args], {
    env: { MAYFLY_URL: cluster.url },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const stdout: Buffer[] = [];
  child.stdout?.on("data", (chunk: Buffer) => stdout.push(chunk));
  const { exitCode, stderrTail } = await finished(child);
  return { exitCode, stdout: Buffer.concat(stdout).toString(), stderr: stderrTail };
}

const listed = async (id: string): Promise<ArtifactList> =>
  (await (await cluster.fetch(`/v1/runs/${id}/artifacts`)).json()) as ArtifactList;

describe("mayfly run --artifact", () => {
  it("puts what the program leaves into a directory, and exits as the program has", async () => {
    const script = `mkdir -p /out/deep; head -c 3000000 /dev/urandom > /out/big; sha256sum < /out/big; echo '{}' > /out/deep/r.json
      ln -s /etc/passwd /out/passwd; chmod 700 /out/deep/r.json; exit 3`;
    const told = await mayfly(
      ...["run", "--artifact", "/out/**", "--artifacts-to", join(directory, "to"), cluster.image],
      ...["sh", "-c", script],
    );
    expect(told).toMatchObject({ exitCode: 3, stderr: "" });
    const big = await readFile(join(directory, "to/out/big"));
    expect(`${createHash("sha256").update(big).digest("hex")}  -\n`).toBe(told.stdout);
    expect((await lstat(join(directory, "to/out/deep/r.json"))).mode & 0o777).toBe(0o700);
    expect((await readdir(join(directory, "to/out"))).toSorted()).toEqual(["big", "deep"]);
  });

  it("says what was left out, and has nothing to say of a program that was never there", async () => {
    const script = "mkdir /out; head -c 5000 /dev/zero > /out/much; echo > /out/little";
    const flags = ["--artifact", "/out", "--artifacts-max", "2KiB", "--artifacts-to", directory];
    const told = await mayfly("run", ...flags, cluster.image, "sh", "-c", script);
    expect(told).toMatchObject({ exitCode: 0, stderr: "mayfly: 1 artifact of 4.9KiB left out: over the limit\n" });
    expect(await readdir(join(directory, "out"))).toEqual(["little"]);
    const none = await mayfly("run", ...flags, cluster.image, "no-such-program");
    expect(none).toMatchObject({ exitCode: 127, stderr: expect.stringContaining("was not started") });
  });

  it("is refused with a directory and no pattern, detached, and for a pattern that is none", async () => {
    const to = ["--artifacts-to", directory];
    expect(await mayfly("run", ...to, cluster.image)).toMatchObject({
      exitCode: 125,
      stderr: expect.stringMatching(/--artifact PATTERN/),
    });
    const detached = await mayfly("run", "-d", "--artifact", "/x", ...to, cluster.image);
    expect(detached).toMatchObject({ exitCode: 125, stderr: expect.stringMatching(/exclude/) });
    expect(await mayfly("run", "--artifact", "x", cluster.image)).toMatchObject({
      exitCode: 125,
      stderr: expect.stringMatching(/--artifact/),
    });
  });
});

describe("mayfly artifacts", () => {
  it("lists, prints one, and puts all into a directory; a name cannot steer the terminal", async () => {
    const script = "mkdir /out; echo one > /out/a; echo two > \"$(printf '/out/b\\033[31m')\"";
    const run = await cluster.run({ command: ["sh", "-c", script], artifacts: { paths: ["/out"] } });
    expect(run.artifacts).toEqual({ files: 2, bytes: 8 });
    const list = await mayfly("artifacts", run.id);
    expect(list.stdout).toMatch(
      /^MODE {2}SIZE {2}MODIFIED {14}PATH\n0644 {2}4B {4}\S+Z {2}\/out\/a\n0644 .* \/out\/b\?\[31m\n$/,
    );
    expect((await mayfly("artifacts", run.id, "/out/a")).stdout).toBe("one\n");
    expect((await mayfly("artifacts", run.id, "/out/c")).stderr).toContain("artifact_not_found");
    expect((await mayfly("artifacts", run.id, "../../../secrets")).stderr).toContain("artifact_not_found");
    const saved = await mayfly("artifacts", run.id, "-o", directory);
    expect(saved.stdout.split("\n").toSorted()).toEqual(["", "/out/a", "/out/b?[31m"]);
    expect(await readFile(join(directory, "out/a"), "utf8")).toBe("one\n");
    const lines = (await mayfly("artifacts", "--json", run.id)).stdout.trim().split("\n");
    expect(lines.map((line) => (JSON.parse(line) as { bytes: number }).bytes)).toEqual([4, 4]);
  });
});

describe("artifacts are kept", () => {
  const leaves = "mkdir /out; echo x > /out/x; echo up";

  it.each([
    ["heeds SIGTERM", `${leaves}; exec sleep 300`],
    ["does not heed it", `${leaves}; trap '' TERM; while :; do sleep 0.1; done`],
  ])("of a program whose time is over and that %s", async (_, script) => {
    const timeouts = { run: "500ms", grace: "200ms" };
    const run = await cluster.run({ command: ["sh", "-c", script], artifacts: { paths: ["/out"] }, timeouts });
    expect(run).toMatchObject({ outcome: { kind: "timed_out", clock: "run" }, artifacts: { files: 1, bytes: 2 } });
    expect((await listed(run.id)).artifacts.map(({ path }) => path)).toEqual(["/out/x"]);
  });

  it.each([
    ["cancelled", "cancel"],
    ["cancelled by force", "cancel?force=true"],
  ])("of a program that is %s", async (_, how) => {
    const { id } = await cluster.submit({
      command: ["sh", "-c", `${leaves}; exec sleep 300`],
      artifacts: { paths: ["/out"] },
    });
    await cluster.says(id, "up");
    await cluster.fetch(`/v1/runs/${id}/${how}`, { method: "POST" });
    expect(await cluster.get(id, 30)).toMatchObject({
      outcome: { kind: "cancelled" },
      artifacts: { files: 1, bytes: 2 },
    });
  });

  it("of a program that has run out of memory, if its container still stands", async () => {
    const run = await cluster.run({
      command: ["sh", "-c", `${leaves}; tail /dev/zero`],
      ...{ artifacts: { paths: ["/out"] }, limits: { memory: "32MiB", disk: "1MiB" } },
    });
    expect(run).toMatchObject({ outcome: { kind: "oom_killed" }, artifacts: { files: 1, bytes: 2 } });
  });

  it("of a program that ended in time, though collecting goes on after its clock", async () => {
    const script = "mkdir /out; head -c 16000000 /dev/zero > /out/x";
    const run = await cluster.run({
      command: ["sh", "-c", script],
      ...{ artifacts: { paths: ["/out"], max: "16MiB" }, limits: { memory: "128MiB" } },
    });
    expect(run).toMatchObject({ outcome: { kind: "exited", exitCode: 0 }, artifacts: { files: 1, bytes: 16_000_000 } });
    const response = await cluster.fetch(`/v1/runs/${run.id}/artifacts`, { headers: { accept: "application/x-tar" } });
    expect((await response.arrayBuffer()).byteLength).toBe(512 + 16_000_000 + 1024);
  });
});
