// Whoever talks nonsense to the launcher loses its own connection and sandbox. Nobody else's is touched, and nothing of it is left.
// The launcher is the sanitized build: what it reads or frees in the wrong place is a failure here, not bad luck elsewhere.

import { existsSync, readFileSync } from "node:fs";
import { mkdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  encodeFrame,
  encodeResize,
  encodeRun,
  encodeU32,
  encodeU64,
  FRAME,
  MAX_CHUNK_BYTES,
  MAX_FRAME_BYTES,
  type RunFrame,
  STREAM_WINDOW_BYTES,
} from "../../runtime/launcher/protocol.ts";
import type { Sandbox } from "../../runtime/task/sandbox.ts";
import { eventually } from "../helpers/eventually.ts";
import { type HeardLog, heardLog } from "../helpers/heard-log.ts";
import { sanitizedPrograms, socketOf, theLauncher } from "../helpers/launcher.ts";
import { traces } from "../helpers/leak-check.ts";
import { RawPeer } from "../helpers/raw-peer.ts";
import { makeRuntime, type RuntimeUnderTest } from "../helpers/runtime.ts";
import { seeded } from "../helpers/seeded.ts";

const MIB = 2 ** 20;
const MAX_CREDIT = 2 ** 30;
/** The bystander's life, which all tests of a kind must fit into, however slow the machine. */
const LIFE_MS = 3_600_000;

/** Where a blank is ready, a run is furnished at once; where there is none, it first waits for one to be made. */
describe.each([
  ["with blanks", { min: 2, max: 4 }],
  ["without", { min: 0, max: 0 }],
])("a launcher %s", (_kind, blanks) => {
  let sanitized: Awaited<ReturnType<typeof sanitizedPrograms>>;
  let log: HeardLog;
  let under: RuntimeUnderTest;
  let path: string;
  let bystander: Sandbox;
  let launcher: number;

  beforeAll(async () => {
    sanitized = await sanitizedPrograms();
    log = heardLog();
    under = await makeRuntime({ programsDir: sanitized.programsDir, blanks, log });
    path = socketOf(under.host);
    bystander = await under.open({ id: "bystander", argv: ["cat"], deadlineMs: LIFE_MS });
    launcher = (await theLauncher(under.host)).launcher;
  });

  afterAll(async () => {
    try {
      bystander.stdin.end();
      expect((await bystander.ended).process).toEqual({ kind: "exited", exitCode: 0 });
      await bystander.close();
    } finally {
      await under.stop();
    }
    expect(await sanitized.report()).toBe("");
  });

  /** Whatever was said: the bystander is well, and it is all there is. */
  afterEach(async () => {
    expect(await sanitized.report()).toBe("");
    const echo = new Promise((resolve) => bystander.stdout.once("data", (chunk: Buffer) => resolve(chunk.toString())));
    bystander.stdin.write("well\n");
    expect(await Promise.race([echo, bystander.ended])).toBe("well\n");
    await eventually(async () => {
      const { cgroups, processes, mounts } = await traces(under.host);
      // PID 1 and cat.
      const counts = { cgroups: cgroups.length, processes: processes.length, mounts: mounts.length };
      expect(counts).toEqual({ cgroups: 1, processes: 2, mounts: 0 });
      expect(await theLauncher(under.host)).toMatchObject({ launcher, zombies: [] });
    });
  });

  let serial = 0;

  function run(changes: Partial<RunFrame> = {}): Buffer {
    return encodeRun({
      id: `peer-${++serial}`,
      hostname: "h",
      layers: under.image.layers.toReversed(),
      user: "",
      workdir: "/",
      argv: ["sleep", "300"],
      env: ["PATH=/bin"],
      keepHome: false,
      hasFiles: false,
      limits: { cpus: 1, memoryBytes: 64 * MIB, pids: 16, diskBytes: 8 * MIB },
      cpuQuotaUs: 100_000,
      deadlineMs: LIFE_MS,
      terminal: undefined,
      ...changes,
    });
  }

  const peer = () => new RawPeer(path);

  /** Sends the bytes on a connection of their own; resolves with what the launcher says as it closes it. */
  async function refusalOf(...frames: Buffer[]): Promise<string> {
    const { send, refusal } = bound(peer());
    await send(Buffer.concat(frames));
    return refusal();
  }

  const bound = (one: RawPeer) => ({ send: one.send.bind(one), refusal: one.refusal.bind(one) });

  const header = (length: number, type: number, stream = 0, zero = 0) => {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt32LE(length, 0);
    bytes.writeUInt8(type, 4);
    bytes.writeUInt8(stream, 5);
    bytes.writeUInt16LE(zero, 6);
    return bytes;
  };

  describe("a frame that is none", () => {
    it.each([
      ["is of type 0", header(0, 0), "unknown frame type"],
      ["is of a type that nobody knows", header(0, 200), "unknown frame type"],
      ["is one that only the launcher sends", encodeFrame(FRAME.EXITED, Buffer.alloc(56)), "unknown frame type"],
      ["is longer than any may be", header(MAX_FRAME_BYTES + 1, FRAME.RUN), "frame too long"],
      ["claims four gigabytes", header(0xffff_ffff, FRAME.STDIN), "frame too long"],
      [
        "has a length that its type never has",
        encodeFrame(FRAME.DEADLINE, Buffer.alloc(4)),
        "wrong length for its type",
      ],
      ["has something where nothing may be", header(0, FRAME.STATUS, 0, 1), "malformed header"],
      ["is of a stream that there is not", header(4, FRAME.CREDIT, 9), "malformed header"],
      ["names a stream where there is none", header(0, FRAME.STATUS, 1), "a stream where there is none"],
      ["is garbage", Buffer.from("GET / HTTP/1.1\r\n\r\n"), "unknown frame type"],
    ])("which %s ends its connection, with the reason", async (_what, bytes, why) => {
      expect(await refusalOf(bytes)).toBe(`protocol: ${why}`);
    });

    it("which is cut by the end of the connection leaves nothing, wherever it is cut", async () => {
      const whole = run();
      for (const cut of [1, 7, 8, 9, 40, 56, 57, 80, whole.length - 1]) {
        const one = peer();
        await one.send(whole.subarray(0, cut));
        one.socket.end();
        await one.closed;
        expect(one.frames).toEqual([]);
      }
    });

    it("but comes a byte at a time is a frame like another", async () => {
      const one = peer();
      for (const byte of run({ argv: ["true"] })) await one.send(Buffer.from([byte]));
      await one.hears(FRAME.EXITED);
      await one.release();
    });
  });

  describe("a word out of order", () => {
    it.each([
      ["STDIN", encodeFrame(FRAME.STDIN, Buffer.from("x"))],
      ["CREDIT", encodeU32(FRAME.CREDIT, 1, 1)],
      ["DEADLINE", encodeU64(FRAME.DEADLINE, 1000)],
      ["SIGNAL", encodeU32(FRAME.SIGNAL, 15)],
      ["RESIZE", encodeResize(10, 10)],
      ["KILL", encodeFrame(FRAME.KILL)],
      ["RELEASE", encodeFrame(FRAME.RELEASE)],
    ])("%s before there is a sandbox ends the connection", async (_name, frame) => {
      expect(await refusalOf(frame)).toBe("protocol: out of order");
    });

    it("RUN twice ends the connection and the sandbox of the first", async () => {
      expect(await refusalOf(run(), run())).toMatch(/protocol: RUN out of order/);
    });

    it("PREPARE twice, or after RUN, ends the connection", async () => {
      const prepare = encodeU64(FRAME.PREPARE, 30_000);
      expect(await refusalOf(prepare, prepare)).toMatch(/protocol: PREPARE out of order/);
      expect(await refusalOf(run(), prepare)).toMatch(/protocol: PREPARE out of order/);
    });

    it("RESET on the connection of a sandbox ends that sandbox alone", async () => {
      expect(await refusalOf(run(), encodeFrame(FRAME.RESET))).toBe("protocol: out of order");
    });

    it("STATUS is answered at any time", async () => {
      const one = peer();
      await one.send(Buffer.concat([encodeFrame(FRAME.STATUS), run({ argv: ["true"] }), encodeFrame(FRAME.STATUS)]));
      await one.hears(FRAME.EXITED);
      expect(one.frames.filter(({ type }) => type === FRAME.STATUS_IS)).toHaveLength(2);
      await one.release();
    });

    it("everything after the end is heard without harm", async () => {
      const one = peer();
      await one.send(run({ argv: ["true"] }));
      await one.hears(FRAME.EXITED);
      await one.send(
        Buffer.concat([
          encodeFrame(FRAME.STDIN, Buffer.from("late")),
          encodeFrame(FRAME.STDIN),
          encodeU32(FRAME.CREDIT, 1000, 1),
          encodeU64(FRAME.DEADLINE, 0),
          encodeU32(FRAME.SIGNAL, 15),
          encodeResize(5, 5),
          encodeFrame(FRAME.KILL),
          encodeFrame(FRAME.KILL),
        ]),
      );
      await one.release();
    });
  });

  describe("what a sandbox was made ahead for", () => {
    it("hears what was typed before it ran", async () => {
      const one = peer();
      await one.send(encodeU64(FRAME.PREPARE, 30_000));
      await one.hears(FRAME.PREPARED);
      await one.send(Buffer.concat([encodeFrame(FRAME.STDIN, Buffer.from("early\n")), encodeFrame(FRAME.STDIN)]));
      await one.send(run({ argv: ["cat"] }));
      await one.hears(FRAME.EXITED);
      expect((await one.hears(FRAME.OUTPUT)).payload.toString()).toBe("early\n");
      await one.release();
    });

    it("ends at its deadline when nobody says what to run", async () => {
      const one = peer();
      await one.send(encodeU64(FRAME.PREPARE, 200));
      await one.hears(FRAME.FAILED);
      await one.release();
    });

    it("leaves nothing when its connection is dropped while it waits", async () => {
      for (let i = 0; i < 12; i++) {
        const one = peer();
        await one.send(i % 2 === 0 ? run() : encodeU64(FRAME.PREPARE, 30_000));
        one.drop();
        await one.closed;
      }
    });

    it.each(["ready", "still to be made"])(
      "may be told of an id that is taken, with the blank %s, and leaves nothing",
      async (when) => {
        for (let i = 0; i < 12; i++) {
          const one = peer();
          await one.send(encodeU64(FRAME.PREPARE, 30_000));
          if (when === "ready") await one.hears(FRAME.PREPARED);
          await one.send(run({ id: "bystander" }));
          await one.hears(FRAME.FAILED);
          if (i % 2 === 0) await one.release();
          else one.drop();
        }
      },
    );
  });

  describe("streams", () => {
    it("take no more input than they have given credit for", async () => {
      const chunk = encodeFrame(FRAME.STDIN, Buffer.alloc(MAX_CHUNK_BYTES));
      // A window, what a pipe holds, and more.
      const chunks = Array<Buffer>(STREAM_WINDOW_BYTES / MAX_CHUNK_BYTES + 4).fill(chunk);
      expect(await refusalOf(run(), ...chunks)).toBe("protocol: more input than there is room for");
    });

    it("take no input after its end, and no chunk above the largest", async () => {
      const end = encodeFrame(FRAME.STDIN);
      expect(await refusalOf(run(), end, end)).toBe("protocol: input after its end");
      const large = encodeFrame(FRAME.STDIN, Buffer.alloc(MAX_CHUNK_BYTES + 1));
      expect(await refusalOf(run(), large)).toBe("protocol: more than a chunk");
    });

    it("take no credit that overflows", async () => {
      const credit = (bytes: number, stream = 1) => encodeU32(FRAME.CREDIT, bytes, stream);
      const why = "protocol: more credit than there can be";
      expect(await refusalOf(run(), credit(0xffff_ffff))).toBe(why);
      expect(await refusalOf(run(), credit(MAX_CREDIT))).toBe(why);
      expect(await refusalOf(run(), credit(MAX_CREDIT - STREAM_WINDOW_BYTES), credit(1))).toBe(why);
      expect(await refusalOf(run(), credit(1, 0))).toBe("protocol: credit of no output stream");
    });

    it("refuse signals and sizes that there are not", async () => {
      expect(await refusalOf(run(), encodeU32(FRAME.SIGNAL, 0))).toBe("protocol: no such signal");
      expect(await refusalOf(run(), encodeU32(FRAME.SIGNAL, 65))).toBe("protocol: no such signal");
      expect(await refusalOf(run(), encodeResize(10_001, 10))).toBe("protocol: no terminal is that large");
    });

    it("wait for a peer that never reads, whose sandbox ends at its deadline all the same", async () => {
      const one = new RawPeer(path, { reads: false });
      const flood = { argv: ["sh", "-c", "yes & yes >&2"], deadlineMs: 1_000, id: "never-read" };
      await one.send(
        Buffer.concat([
          run(flood),
          encodeU32(FRAME.CREDIT, MAX_CREDIT / 2, 1),
          encodeU32(FRAME.CREDIT, MAX_CREDIT / 2, 2),
        ]),
      );
      while (!log.events.some(({ fields }) => fields.sandbox === "never-read" && fields.stage === "deadline"))
        await log.heard("sandbox.failed", log.events.filter(({ event }) => event === "sandbox.failed").length + 1);
      one.drop();
    });

    it("are cut when a peer asks without end and never reads the answers", async () => {
      const one = new RawPeer(path, { reads: false });
      void one.send(Buffer.concat(Array<Buffer>(150_000).fill(encodeFrame(FRAME.STATUS))));
      await log.heard("connection.dropped");
      one.drop();
    });

    it("are whole for a peer that reads slowly, however much there is of them", async () => {
      const bytes = 24 * MIB;
      const one = new RawPeer(path, { reads: false });
      const credit = encodeU32(FRAME.CREDIT, MAX_CREDIT / 2, 1);
      await one.send(Buffer.concat([run({ argv: ["sh", "-c", `yes | head -c ${bytes}`] }), credit]));
      let read = 0;
      for await (const chunk of one.socket as AsyncIterable<Buffer>) {
        read += chunk.length;
        // The launcher fills the socket again before more is taken.
        await new Promise((resolve) => setTimeout(resolve, 1));
        if (read >= bytes + (bytes / MAX_CHUNK_BYTES) * 8) break;
      }
      expect(read).toBeGreaterThan(bytes);
    });
  });

  describe("a terminal", () => {
    it("that is handed over when its worker is gone is closed, and its sandbox removed", async () => {
      // So deep that making it takes the init a while, after the launcher has told it what to run.
      const workdir = "/d".repeat(1_500);
      const one = peer();
      await one.send(run({ workdir, terminal: { rows: 20, columns: 80 } }));
      let init: number | undefined;
      while (init === undefined)
        init = (await theLauncher(under.host)).inits.find((pid) => existsSync(`/proc/${pid}/root/d`));
      process.kill(launcher, "SIGSTOP");
      try {
        one.drop();
        await one.closed;
        // Of the init: the program, so the terminal has been handed over by now.
        while (readFileSync(`/proc/${init}/task/${init}/children`, "utf8") === "") await turns(10);
      } finally {
        process.kill(launcher, "SIGCONT");
      }
    });
  });

  describe("a run that could not be", () => {
    const layersDir = () => join(under.host.stateDir, "layers");

    it.each([
      ["an empty id", { id: "" }, "no id"],
      ["an id that is a path", { id: "../../escape" }, "no id"],
      ["an id with a line end", { id: "a\nb" }, "no id"],
      ["an id of more bytes than there may be", { id: "a".repeat(129) }, "no id"],
      ["an empty host name", { hostname: "" }, "no host name"],
      ["a host name with a blank in it", { hostname: "a b" }, "no host name"],
      ["a host name that is too long", { hostname: "a".repeat(64) }, "no host name"],
      ["a NUL in its id, which moves every string", { id: "a\0b\0c" }, "a layer that is no absolute path"],
      ["no layers", { layers: [] }, "impossible counts"],
      ["no arguments", { argv: [] }, "impossible counts"],
      ["a layer that is relative", { layers: ["etc"] }, "a layer that is no absolute path"],
      ["a working directory that is relative", { workdir: "tmp" }, "no user, or no absolute working directory"],
      ["an environment entry without =", { env: ["NAME"] }, "an environment entry without ="],
      ["a string too many", { argv: ["true", "x\0y"] }, "an environment entry without ="],
      ["no CPU", { cpuQuotaUs: 0 }, "impossible limits"],
      ["a terminal of no columns", { terminal: { rows: 10, columns: 0 } }, "impossible counts"],
    ])("has %s: its connection is closed", async (_what, changes, why) => {
      expect(await refusalOf(run(changes))).toBe(`protocol: ${why}`);
    });

    it.each([
      ["a directory of the host's", () => "/etc"],
      ["a directory whose name begins alike", () => `${layersDir()}-of-another/x`],
      ["the way up", () => `${layersDir()}/../../../etc`],
      ["the way up from a real layer", () => `${under.image.layers[0]}/../../../../../../etc`],
      ["a link that leads out", () => `${layersDir()}/link`],
      ["a way through a link", () => `${layersDir()}/link/apt`],
      ["a file", () => `${under.image.layers[0]}/etc/passwd`],
      ["what is not there", () => `${layersDir()}/nothing`],
      ["an empty name", () => `${layersDir()}/`],
      ["the directory of layers itself", () => `${layersDir()}/.`],
    ])("names %s as a layer: it fails, and nothing is mounted", async (_what, layer) => {
      await mkdir(layersDir(), { recursive: true });
      await symlink("/etc", join(layersDir(), "link")).catch(() => {});
      const one = peer();
      await one.send(run({ layers: [layer()] }));
      const { payload } = await one.hears(FRAME.FAILED);
      expect(payload.toString()).toMatch(/^mount\0/);
      await one.release();
    });
  });

  describe("connections dropped at any moment", () => {
    const FRAMES = 200;
    const random = seeded(20260917);

    function script(): Buffer {
      const pick = <Value>(...values: Value[]) => values[random(values.length)] as Value;
      const begin = pick(encodeU64(FRAME.PREPARE, 20_000), Buffer.alloc(0));
      const argv = pick(["true"], ["sleep", "300"], ["sh", "-c", "yes & yes >&2"], ["cat"], ["no-such-program"]);
      const first = run({
        argv,
        terminal: pick(undefined, undefined, { rows: 20, columns: 80 }),
        deadlineMs: pick(LIFE_MS, 1, 30),
        user: pick("", "", "app", "nobody-here"),
      });
      const later = [
        encodeFrame(FRAME.STDIN, Buffer.alloc(1 + random(MAX_CHUNK_BYTES))),
        encodeU32(FRAME.CREDIT, random(MAX_CREDIT / 2), 1 + random(2)),
        encodeU64(FRAME.DEADLINE, random(3_000)),
        encodeU32(FRAME.SIGNAL, 1 + random(64)),
        encodeResize(random(100), random(100)),
        encodeFrame(FRAME.KILL),
        encodeFrame(FRAME.RELEASE),
        encodeFrame(FRAME.STATUS),
      ];
      return Buffer.concat([begin, first, ...Array.from({ length: random(6) }, () => pick(...later))]);
    }

    it(`leave nothing, ${FRAMES} of them`, { timeout: 600_000 }, async () => {
      let left = FRAMES;
      const lane = async () => {
        while (left-- > 0) {
          const bytes = script();
          const one = peer();
          await one.send(bytes.subarray(0, random(4) === 0 ? random(bytes.length) : bytes.length));
          const type = [FRAME.STARTED, FRAME.OUTPUT, FRAME.PREPARED, undefined, undefined][random(5)];
          // What it waits for may never come: any frame, or the end, will do.
          if (type !== undefined)
            await Promise.race([one.hears(type), one.hears(FRAME.FAILED), one.hears(FRAME.EXITED), turns(200)]).catch(
              () => {},
            );
          else await turns(random(40));
          one.drop();
          await one.closed;
        }
      };
      await Promise.all(Array.from({ length: 8 }, lane));
    });
  });
});

/** A moment that is not of the clock's: so many turns of this process' own loop. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise(setImmediate);
}
