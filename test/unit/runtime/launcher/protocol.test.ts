// The two halves of the launcher's protocol, held together: what protocol.h says, as a C compiler understands it, and protocol.ts.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ARTIFACT_BOUNDS } from "../../../../core/artifacts.ts";
import { runProgram } from "../../../../runtime/host/command.ts";
import * as protocol from "../../../../runtime/launcher/protocol.ts";
import { END_SIGNAL } from "../../../../runtime/task/end-signal.ts";
import { runFrame } from "./run-frame.ts";

const LAUNCHER = join(import.meta.dirname, "../../../../runtime/launcher");
const { FRAME } = protocol;

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "mayfly-protocol-"));
});
afterAll(() => rm(directory, { recursive: true }));

/** What C makes of the expressions, each a number. */
async function inC(expressions: readonly string[]): Promise<number[]> {
  const lines = expressions.map((expression) => `  printf("%llu\\n", (unsigned long long)(${expression}));`);
  const source = `#include "protocol.h"\n#include "../init/artifacts.h"\n#include "../init/report.h"\n#include <stddef.h>\n#include <stdio.h>\nint main(void) {\n${lines.join("\n")}\n}\n`;
  await writeFile(join(directory, "print.c"), source);
  await runProgram(["cc", "-I", LAUNCHER, "-o", join(directory, "print"), join(directory, "print.c")]);
  return (await runProgram([join(directory, "print")])).trim().split("\n").map(Number);
}

describe("protocol.h and protocol.ts", () => {
  it("have the same frames, and no others", async () => {
    const header = await readFile(join(LAUNCHER, "protocol.h"), "utf8");
    const names = [...header.matchAll(/^\s*FRAME_(?<name>[A-Z_]+) = \d+,/gm)]
      .map(({ groups }) => groups?.name ?? "")
      .filter((name) => name !== "HEADER_BYTES");
    expect(names.toSorted()).toEqual(Object.keys(FRAME).toSorted());
    expect(await inC(names.map((name) => `FRAME_${name}`))).toEqual(
      names.map((name) => FRAME[name as keyof typeof FRAME]),
    );
  });

  it("have the same limits", async () => {
    const names = [
      "PROTOCOL_VERSION",
      "FRAME_HEADER_BYTES",
      "MAX_FRAME_BYTES",
      "MAX_CHUNK_BYTES",
      "STREAM_WINDOW_BYTES",
    ] as const;
    const { PROTOCOL_VERSION, FRAME_HEADER_BYTES, MAX_FRAME_BYTES, MAX_CHUNK_BYTES, STREAM_WINDOW_BYTES } = protocol;
    const ours = [PROTOCOL_VERSION, FRAME_HEADER_BYTES, MAX_FRAME_BYTES, MAX_CHUNK_BYTES, STREAM_WINDOW_BYTES];
    expect(await inC(names)).toEqual(ours);
  });

  it("have the limits that a request has, and the signal that asks for the end", async () => {
    const names = [
      "MAX_PATTERNS",
      "MAX_ARTIFACT_PATTERNS",
      "MAX_ARTIFACT_COMPONENTS",
      "MAX_ARTIFACT_PATH - 1",
      "END_SIGNAL",
    ];
    const { patterns, patternNames, pathBytes } = ARTIFACT_BOUNDS;
    expect(await inC(names)).toEqual([patterns, patterns, patternNames, pathBytes, END_SIGNAL]);
    expect((await inC(["ARTIFACTS_CLOCK_MS"]))[0]).toBeLessThan(ARTIFACT_BOUNDS.collectMs);
  });

  it("have structs of the same size", async () => {
    const sizes = await inC(["sizeof(struct frame_header)", "sizeof(struct run_header)", "sizeof(struct status)"]);
    expect(sizes).toEqual([protocol.FRAME_HEADER_BYTES, protocol.RUN_HEADER_BYTES, protocol.STATUS_BYTES]);
  });

  it("have each field of a run at the same place", async () => {
    const frame = runFrame({
      terminal: { rows: 7, columns: 9 },
      keepHome: true,
      layers: ["/a", "/b", "/c"],
      artifacts: { patterns: ["/out/**", "/x"], maxFiles: 5, maxBytes: 2 ** 33 },
    });
    const payload = frame.subarray(protocol.FRAME_HEADER_BYTES);
    const at = await inC(
      ["deadline_ms", "memory_bytes", "disk_bytes", "cpu_quota_us", "pids", "rows", "columns", "layers"]
        .concat("flags", "arguments", "environment", "artifact_bytes", "artifact_files", "patterns")
        .map((field) => `offsetof(struct run_header, ${field})`),
    );
    const read = ["u64", "u64", "u64", "u32", "u32", "u16", "u16", "u16", "u16", "u32", "u32", "u64", "u32", "u32"].map(
      (kind, i) => {
        const offset = at[i] ?? -1;
        if (kind === "u64") return Number(payload.readBigUInt64LE(offset));
        return kind === "u32" ? payload.readUInt32LE(offset) : payload.readUInt16LE(offset);
      },
    );
    expect(read).toEqual([8_000, 2 ** 26, 2 ** 24, 100_000, 64, 7, 9, 3, 1, 3, 2, 2 ** 33, 5, 2]);
    expect(protocol.decodeStrings(payload.subarray(protocol.RUN_HEADER_BYTES))).toEqual([
      "run_1-1",
      "host",
      "/a",
      "/b",
      "/c",
      "app",
      "/srv",
      "sh",
      "-c",
      "exit 3",
      "PATH=/bin",
      "EMPTY=",
      "/out/**",
      "/x",
    ]);
  });

  it("have each fact of an end at the same place", async () => {
    const fields = ["wait_status", "facts", "cpu_us", "throttled_us", "peak_memory_bytes", "oom_kills"];
    const [size = 0, ...at] = await inC([
      "sizeof(struct exited)",
      ...fields.map((field) => `offsetof(struct exited, ${field})`),
    ]);
    const payload = Buffer.alloc(size);
    payload.writeUInt32LE(0x0300, at[0]);
    payload.writeUInt32LE(1, at[1]);
    for (const [i, value] of [5_000n, 6_000n, 7n, 8n].entries()) payload.writeBigUInt64LE(value, at[i + 2]);
    expect(protocol.decodeExited(payload)).toEqual({
      waitStatus: 0x0300,
      hasFacts: true,
      cpuMs: 5,
      throttledMs: 6,
      peakMemoryBytes: 7,
      oomKills: 8,
    });
  });
});

describe("the reader of frames", () => {
  const frames = fc.array(
    fc.record({
      type: fc.constantFrom(...Object.values(FRAME)),
      stream: fc.integer({ min: 0, max: 3 }),
      payload: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
    }),
    { maxLength: 20 },
  );

  it("gives the same frames however their bytes are cut", () => {
    fc.assert(
      fc.property(frames, fc.array(fc.integer({ min: 1, max: 97 }), { minLength: 1 }), (sent, sizes) => {
        const bytes = Buffer.concat(
          sent.map(({ type, payload, stream }) => protocol.encodeFrame(type, payload, stream)),
        );
        const reader = new protocol.FrameReader();
        const heard: unknown[] = [];
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const size = sizes[i % sizes.length] ?? 1;
          for (const frame of reader.push(bytes.subarray(at, at + size)))
            heard.push({ ...frame, payload: Buffer.from(frame.payload) });
          at += size;
        }
        expect(heard).toEqual(sent);
      }),
    );
  });

  it("takes no frame that is longer than there are", () => {
    const frame = protocol.encodeFrame(FRAME.OUTPUT, Buffer.alloc(0));
    frame.writeUInt32LE(protocol.MAX_FRAME_BYTES + 1, 0);
    expect(() => [...new protocol.FrameReader().push(frame)]).toThrow("a frame of 1048577 bytes");
  });
});
