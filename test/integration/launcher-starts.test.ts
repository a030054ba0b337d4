// What the launcher tells of a start that comes to nothing: whose fault it is, once; and the end of every stream, so that nobody waits
// for output which will never be.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { decodeFailed, encodeFrame, encodeRun, FRAME, type RunFrame } from "../../runtime/launcher/protocol.ts";
import { LAUNCHER, programsWith, socketOf, theLauncher } from "../helpers/launcher.ts";
import { buildNative } from "../helpers/native.ts";
import { nothingLeft } from "../helpers/nothing-left.ts";
import { RawPeer } from "../helpers/raw-peer.ts";
import { makeRuntime, type RuntimeUnderTest } from "../helpers/runtime.ts";

const MIB = 2 ** 20;
const TERMINAL = { rows: 24, columns: 80 };
const STDOUT = 1;
const STDERR = 2;
const ARTIFACTS = 3;

let under: RuntimeUnderTest;

function begin(changes: Partial<RunFrame>): RawPeer {
  const peer = new RawPeer(socketOf(under.host));
  void peer.send(
    encodeRun({
      id: "one",
      hostname: "h",
      layers: under.image.layers.toReversed(),
      user: "",
      workdir: "/",
      argv: ["true"],
      env: ["PATH=/bin"],
      keepHome: false,
      hasFiles: false,
      limits: { cpus: 1, memoryBytes: 64 * MIB, pids: 16, diskBytes: 8 * MIB },
      cpuQuotaUs: 100_000,
      deadlineMs: 30_000,
      terminal: undefined,
      ...changes,
    }),
  );
  return peer;
}

async function leave(peer: RawPeer): Promise<void> {
  await peer.release();
  await nothingLeft(under.host, { launcher: true });
}

const streamsOf = (peer: RawPeer, type: number) =>
  peer.frames.filter((frame) => frame.type === type).map(({ stream }) => stream);

describe("a blank that dies while a maker is at it", () => {
  beforeAll(async () => {
    under = await makeRuntime({ blanks: { min: 1, max: 1 } });
  });
  afterAll(() => under.stop());

  /** The makers are stopped with the blank to be furnished; then it is killed. */
  async function killedAtTheMaker(changes: Partial<RunFrame>): Promise<RawPeer> {
    while ((await under.runtime.blanks()).ready === 0) await new Promise(setImmediate);
    const { makers, inits } = await theLauncher(under.host);
    for (const pid of makers) process.kill(pid, "SIGSTOP");
    try {
      const peer = begin(changes);
      await peer.send(encodeFrame(FRAME.STATUS));
      await peer.hears(FRAME.STATUS_IS); // It answers in order: the maker has been asked by now.
      for (const pid of inits) process.kill(pid, "SIGKILL");
      await Promise.race([peer.hears(FRAME.FAILED), peer.hears(FRAME.EXITED)]);
      return peer;
    } finally {
      for (const pid of makers) process.kill(pid, "SIGCONT");
    }
  }

  it("is the host's fault, and no end of a program that has never been there", async () => {
    const peer = await killedAtTheMaker({});
    expect(streamsOf(peer, FRAME.EXITED)).toEqual([]);
    expect(decodeFailed((await peer.hears(FRAME.FAILED)).payload)).toEqual({
      stage: "init",
      message: "PID 1 ended before its program was started",
    });
    await leave(peer);
  });

  it("ends the output of a terminal that has not come to be", async () => {
    const peer = await killedAtTheMaker({ terminal: TERMINAL });
    await peer.hears(FRAME.END, STDOUT);
    await peer.hears(FRAME.END, STDERR);
    expect(streamsOf(peer, FRAME.OUTPUT)).toEqual([]);
    await leave(peer);
  });
});

describe("a PID 1 that lies", () => {
  beforeAll(async () => {
    const sources = ["blank.c", "stage.c"];
    const blank = await buildNative("lying-blank", sources, ["-fno-sanitize=all", "-fPIE", "-static-pie"]);
    under = await makeRuntime({ programsDir: await programsWith(`exec ${LAUNCHER} "$@"`, { blank }) });
  });
  afterAll(() => under.stop());

  // Whatever it is, its owner could make the launcher, which must never wait, wait for it.
  it("and hands over something that is no terminal is not listened to", async () => {
    const peer = begin({ argv: ["hand-over-a-pipe"], terminal: TERMINAL });
    await peer.hears(FRAME.EXITED);
    await peer.hears(FRAME.END, STDOUT);
    expect(streamsOf(peer, FRAME.OUTPUT)).toEqual([]);
    await leave(peer);
  });

  const artifacts = { patterns: ["/out"], maxFiles: 1, maxBytes: 1 };

  it.each([
    "artifacts-of-a-pipe",
    "artifacts-of-a-file",
    "artifacts-of-nobody",
    "artifacts-of-none",
    "artifacts-twice",
    "crash",
  ])("and hands over what artifacts cannot be read from (%s) has none, and their end is told", async (program) => {
    const peer = begin({ argv: [program], artifacts });
    await peer.hears(FRAME.END, ARTIFACTS);
    expect(streamsOf(peer, FRAME.OUTPUT)).toEqual([]);
    await leave(peer);
  });

  it("and hands over artifacts that nobody has asked for is not listened to", async () => {
    const peer = begin({ argv: ["artifacts-of-a-pipe"] });
    await peer.hears(FRAME.EXITED);
    for (const type of [FRAME.COLLECTING, FRAME.OUTPUT]) expect(streamsOf(peer, type)).toEqual([]);
    expect(streamsOf(peer, FRAME.END)).not.toContain(ARTIFACTS);
    await leave(peer);
  });

  it("and takes back what it has sent does not make the launcher wait for it", async () => {
    const peer = begin({ argv: ["artifacts-stolen"], artifacts });
    await peer.hears(FRAME.COLLECTING);
    const other = begin({ id: "two" });
    await other.hears(FRAME.EXITED);
    await other.release();
    await leave(peer);
  });

  it.each(["nothing", "crash"])("and hands over no terminal (%s) has no output for ever", async (program) => {
    const peer = begin({ argv: [program], terminal: TERMINAL });
    await peer.hears(FRAME.END, STDOUT);
    await peer.hears(FRAME.END, STDERR);
    await leave(peer);
  });
});
