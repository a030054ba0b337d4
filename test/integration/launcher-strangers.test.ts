// Who may talk to the launcher: root of this host. And what happens to those who do when everything is reset.

import { chmod, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { finished, startProcess } from "../../runtime/host/command.ts";
import { decodeStatus, decodeStrings, encodeFrame, encodeU64, FRAME } from "../../runtime/launcher/protocol.ts";
import { type HeardLog, heardLog } from "../helpers/heard-log.ts";
import { socketOf, theLauncher } from "../helpers/launcher.ts";
import { traces } from "../helpers/leak-check.ts";
import { nothingLeft } from "../helpers/nothing-left.ts";
import { RawPeer } from "../helpers/raw-peer.ts";
import { makeRuntime, type RuntimeUnderTest } from "../helpers/runtime.ts";

let log: HeardLog;
let under: RuntimeUnderTest;
let path: string;
beforeAll(async () => {
  log = heardLog();
  under = await makeRuntime({ blanks: { min: 2, max: 4 }, log });
  path = socketOf(under.host);
});
afterAll(() => under.stop());

/** Node's own, as the user 65534: says what comes of a connection, and what it was told. */
const CALLER = `
  process.setgroups([]); process.setgid(65534); process.setuid(65534);
  const socket = require("node:net").connect(process.argv[1]);
  let bytes = 0;
  socket.on("connect", () => socket.write(Buffer.from(process.argv[2], "hex")));
  socket.on("data", (chunk) => (bytes += chunk.length));
  socket.on("error", (error) => console.error(error.code));
  socket.on("close", () => console.error("closed after " + bytes + " bytes"));
`;

async function asNobody(): Promise<string> {
  const status = encodeFrame(FRAME.STATUS).toString("hex");
  const child = startProcess([process.execPath, "-e", CALLER, path, status], { stdio: ["ignore", "ignore", "pipe"] });
  return (await finished(child)).stderrTail;
}

describe("someone who is not root", () => {
  it("does not come as far as the socket", async () => {
    expect((await stat(path)).mode & 0o077).toBe(0);
    expect((await stat(dirname(path))).mode & 0o077).toBe(0);
    expect(await asNobody()).toContain("EACCES");
  });

  it("is turned away without an answer where the file's mode lets them in", async () => {
    await Promise.all([chmod(under.host.stateDir, 0o755), chmod(dirname(path), 0o755), chmod(path, 0o666)]);
    expect(await asNobody()).toMatch(/closed after 0 bytes/);
    await log.heard("connection.refused");
  });
});

describe("a reset", () => {
  it("ends every sandbox of every connection, names them, and goes on with the next run", async () => {
    const before = await theLauncher(under.host);
    const sandboxes = await Promise.all(
      ["one", "two", "three"].map((id) => under.open({ id, argv: ["sleep", "300"], deadlineMs: 60_000 })),
    );
    const prepared = new RawPeer(path);
    await prepared.send(encodeU64(FRAME.PREPARE, 60_000));
    await prepared.hears(FRAME.PREPARED);
    const removed = await reset();
    expect(removed.toSorted()).toEqual(["one", "three", "two"]);
    expect(await traces(under.host)).toMatchObject({ cgroups: [], processes: [], mounts: [] });
    for (const sandbox of sandboxes) {
      expect((await sandbox.ended).process).toEqual({ kind: "signaled", signal: "SIGKILL" });
      await sandbox.close();
    }
    prepared.drop();
    expect((await under.sh("exit 4")).end.process).toEqual({ kind: "exited", exitCode: 4 });
    expect((await theLauncher(under.host)).launcher).toBe(before.launcher);
  });

  it("of nothing is done at once, and the count of sandboxes is nought", async () => {
    expect(await reset()).toEqual([]);
    const one = new RawPeer(path);
    await one.send(encodeFrame(FRAME.STATUS));
    expect(decodeStatus((await one.hears(FRAME.STATUS_IS)).payload)).toMatchObject({ sandboxes: 0, leftovers: 0 });
    one.drop();
  });

  async function reset(): Promise<string[]> {
    const one = new RawPeer(path);
    await one.send(encodeFrame(FRAME.RESET));
    const { payload } = await one.hears(FRAME.RESET_DONE);
    one.drop();
    return decodeStrings(payload);
  }
});

describe("a launcher that is stopped (SIGSTOP) past a deadline", () => {
  it("kills before it hears anything: an extension that lay waiting comes too late", async () => {
    const { launcher } = await theLauncher(under.host);
    const sandbox = await under.open({ argv: ["sleep", "300"], deadlineMs: 4_000 });
    process.kill(launcher, "SIGSTOP");
    try {
      sandbox.extend(60_000);
      await new Promise((resolve) => setTimeout(resolve, 4_500)); // Past the deadline, which is what is waited for.
    } finally {
      process.kill(launcher, "SIGCONT");
    }
    await expect(sandbox.ended).rejects.toMatchObject({ reason: "host_unavailable", details: { stage: "deadline" } });
    await sandbox.close();
    await nothingLeft(under.host, { launcher: true });
  });

  it("hears an extension that came in time as soon as it goes on", async () => {
    const { launcher } = await theLauncher(under.host);
    const sandbox = await under.open({ argv: ["cat"], deadlineMs: 30_000 });
    process.kill(launcher, "SIGSTOP");
    sandbox.extend(60_000);
    sandbox.stdin.end("still here");
    process.kill(launcher, "SIGCONT");
    expect((await sandbox.ended).process).toEqual({ kind: "exited", exitCode: 0 });
    await sandbox.close();
  });
});
