// A session at a terminal that is a script in the test: when it is raw, what is typed and told, and that it is given back.

import { EventEmitter } from "node:events";
import { PassThrough } from "node:stream";
import fc from "fast-check";
import { beforeEach, describe, expect, it, vi } from "vitest";
import type { Client, RunEvent } from "../../../cli/client.ts";
import type { Io } from "../../../cli/io.ts";
import { Keyboard } from "../../../cli/keyboard.ts";
import { createLineFeeds } from "../../../cli/line-feed.ts";
import { openSession, type Session } from "../../../cli/session.ts";
import { createTerminal, type TerminalStreams } from "../../../cli/terminal.ts";
import type { TerminalSize } from "../../../core/control.ts";
import { eventually } from "../../helpers/eventually.ts";

const size = (rows: number, columns = 80): TerminalSize => ({ rows, columns });
const state = (name: "queued" | "starting" | "running"): RunEvent => ({ type: "state", state: name, attempt: 1 });
const END = { type: "end", id: "run_1", outcome: { kind: "exited", exitCode: 0 } } as RunEvent;

describe("the keyboard", () => {
  async function typed(...chunks: string[]): Promise<{ passed: string; left: number }> {
    let left = 0;
    const keyboard = new Keyboard(() => {
      left++;
    });
    for (const chunk of chunks) keyboard.write(Buffer.from(chunk, "latin1"));
    keyboard.end();
    const passed = Buffer.concat(await keyboard.toArray()).toString("latin1");
    return { passed, left };
  }

  it.each<[string[], string, number]>([
    [["a\x10\x11b"], "a", 1],
    [["a\x10", "\x11", "b"], "a", 1],
    [["\x10\x10\x11"], "\x10", 1],
    [["\x11\x10"], "\x11\x10", 0],
    [["\x10", "a\x11"], "\x10a\x11", 0],
    [["\x10"], "\x10", 0],
    [["\x10\x11\x10\x11", "more"], "", 1],
  ])("makes of %j the keys %j, and is left %d times", async (chunks, passed, left) => {
    expect(await typed(...chunks)).toEqual({ passed, left });
  });

  it("passes every byte in order, however they come, while nobody leaves", async () => {
    const keys = fc.array(fc.constantFrom("a", "\x10", "\x03", "\xff", "\x00"), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(fc.array(keys, { maxLength: 6 }), async (chunks) => {
        const words = chunks.map((chunk) => chunk.join("")).filter((word) => word !== "");
        expect(await typed(...words)).toEqual({ passed: words.join(""), left: 0 });
      }),
    );
  });

  it("looks at keys that cannot be sent yet", async () => {
    const leave = vi.fn();
    const keyboard = new Keyboard(leave); // Nobody reads it.
    keyboard.write(Buffer.alloc(500_000, "a"));
    keyboard.write(Buffer.from("\x10\x11"));
    expect(leave).toHaveBeenCalledOnce();
  });
});

describe("line feeds", () => {
  const through = (...chunks: string[]) => {
    const convert = createLineFeeds();
    return chunks.map((chunk) => Buffer.from(convert(Buffer.from(chunk))).toString()).join("");
  };

  it.each([
    [["a\nb"], "a\vb"],
    [["a\r\nb\n"], "a\r\nb\v"],
    [["a\r", "\nb"], "a\r\nb"],
    [["a", "\nb"], "a\vb"],
    [["\r", "", "\n"], "\r\n"],
    [["\n\n\r\n\n"], "\v\v\r\n\v"],
  ])("%j are written as %j", (chunks, written) => expect(through(...chunks)).toBe(written));

  it("are all that is changed, and the caller's bytes are not", () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        const before = Uint8Array.from(bytes);
        const after = createLineFeeds()(bytes);
        expect(bytes).toEqual(before);
        expect([...after].map((byte) => (byte === 0x0b ? 0x0a : byte))).toEqual(
          [...bytes].map((byte) => (byte === 0x0b ? 0x0a : byte)),
        );
      }),
    );
  });
});

/** Node's terminal streams, as far as they are used. */
class FakeTty {
  readonly modes: boolean[] = [];
  readonly stdin = Object.assign(new PassThrough(), { setRawMode: (on: boolean) => void this.modes.push(on) });
  readonly stdout = Object.assign(new EventEmitter(), { rows: 24, columns: 80 });
  opened = 0;

  streams(isTty = true): TerminalStreams {
    const stdin = () => {
      this.opened++;
      return this.stdin;
    };
    const stdout = this.stdout as unknown as TerminalStreams["stdout"];
    return { isInput: isTty, isOutput: isTty, stdin, stdout };
  }

  resize(rows: number): void {
    this.stdout.rows = rows;
    this.stdout.emit("resize");
  }
}

describe("the terminal", () => {
  it("is made raw once, and given back once", () => {
    const tty = new FakeTty();
    const terminal = createTerminal(tty.streams());
    terminal.setRaw(false);
    expect(tty.opened).toBe(0); // Merely to look at stdin would open it.
    for (const on of [true, true, false, false, true]) terminal.setRaw(on);
    expect(tty.modes).toEqual([true, false, true]);
  });

  it("is left alone if it is none", () => {
    const tty = new FakeTty();
    createTerminal(tty.streams(false)).setRaw(true);
    expect(tty).toMatchObject({ modes: [], opened: 0 });
  });

  it.each<[number | undefined, number]>([
    [undefined, 24],
    [0, 24],
    [1, 1],
    [1000, 1000],
    [65_535, 1000],
  ])("of %j rows is taken to have %d", (rows, expected) => {
    const tty = new FakeTty();
    Object.assign(tty.stdout, { rows });
    expect(createTerminal(tty.streams()).size()).toEqual(size(expected));
  });
});

describe("a session", () => {
  let tty: FakeTty;
  let told: TerminalSize[];
  let written: string;
  let answer: () => Promise<void>;

  beforeEach(() => {
    tty = new FakeTty();
    told = [];
    written = "";
    answer = async () => {};
  });

  function open({ interactive = true, made = size(24) } = {}): Session {
    const client = {
      resizeRun: (_id: string, latest: TerminalSize) => {
        told.push(latest);
        return answer();
      },
    } as unknown as Client;
    const write = async (bytes: string | Uint8Array) => {
      written += Buffer.from(bytes).toString("latin1");
    };
    const io = {
      stdin: () => tty.stdin,
      stdout: { write },
      stderr: { write },
      terminal: createTerminal(tty.streams()),
    } as unknown as Io;
    return openSession({ id: "run_1", client, io, size: made, liveBytes: 10, interactive });
  }

  it("is raw exactly while the program runs, and again in its next attempt", () => {
    const session = open();
    for (const event of [state("queued"), state("starting")]) session.see(event);
    expect(tty.modes).toEqual([]);
    session.see(state("running"));
    expect(tty.modes).toEqual([true]);
    for (const event of [state("queued"), state("running"), END]) session.see(event);
    expect(tty.modes).toEqual([true, false, true, false]);
    session.close();
  });

  it("gives the terminal back when it is closed, before the keyboard is, and never makes it raw after that", () => {
    const session = open();
    session.see(state("running"));
    tty.stdin.on("close", () => tty.modes.push(...(["closed"] as unknown as boolean[])));
    session.close();
    session.close();
    session.see(state("running"));
    expect(tty.modes).toEqual([true, false]);
    expect(tty.stdin.destroyed).toBe(true);
    expect(tty.stdout.listenerCount("resize")).toBe(0);
  });

  it("without -i reads no key, and leaves the terminal as it is", () => {
    const session = open({ interactive: false });
    session.see(state("running"));
    expect(session.keys).toBeUndefined();
    expect(tty).toMatchObject({ modes: [], opened: 0 });
    session.close();
  });

  it("is over when the person leaves, and also when it is hung up, which is another thing", () => {
    const left = open();
    tty.stdin.write("\x10\x11");
    expect([left.over.aborted, left.hasLeft()]).toEqual([true, true]);
    left.close();
    tty = new FakeTty();
    const lost = open();
    lost.hangUp();
    expect([lost.over.aborted, lost.hasLeft()]).toEqual([true, false]);
    lost.close();
  });

  it("has an end of keys when the terminal goes away", async () => {
    const session = open();
    tty.stdin.write("a");
    tty.stdin.destroy(new Error("EIO"));
    expect(Buffer.concat((await session.keys?.toArray()) ?? []).toString()).toBe("a");
    session.close();
  });

  it("converts line feeds while it is raw, and not before", async () => {
    const session = open();
    await session.stdout.write(Buffer.from("a\n"));
    session.see(state("running"));
    await session.stdout.write(Buffer.from("b\n"));
    await session.stdout.write("a note\n");
    expect(written).toBe("a\nb\va note\n");
    session.close();
  });

  it("says so when nothing more will be shown, after the last that is", async () => {
    const session = open();
    for (const [offset, text] of [
      [0, "12345"],
      [5, "67890"],
    ] as const) {
      const bytes = Buffer.from(text);
      session.see({ type: "stdout", attempt: 1, offset, bytes });
      expect(written).not.toContain("limit");
      await session.stdout.write(bytes);
    }
    expect(written).toMatch(/^1234567890mayfly: the output limit is reached/);
    session.close();
  });

  it("tells a size that has changed since the run was asked for, and none that has not", () => {
    open().close();
    expect(told).toEqual([]);
    open({ made: size(50) }).close();
    expect(told).toEqual([size(24)]);
  });

  it("tells the last of many sizes, one call at a time, and goes on after a failure", async () => {
    const answers: PromiseWithResolvers<void>[] = [];
    answer = () => {
      const next = Promise.withResolvers<void>();
      answers.push(next);
      return next.promise;
    };
    const session = open();
    for (let rows = 30; rows < 40; rows++) tty.resize(rows);
    expect(told).toEqual([size(30)]);
    answers[0]?.resolve();
    await eventually(() => expect(told).toEqual([size(30), size(39)]));
    answers[1]?.reject(new Error("409"));
    await new Promise(setImmediate);
    tty.resize(41);
    expect(told.at(-1)).toEqual(size(41));
    session.close();
    tty.resize(42);
    expect(told.at(-1)).toEqual(size(41));
  });
});
