import { createHash } from "node:crypto";
import { once } from "node:events";
import { PassThrough, Readable } from "node:stream";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { keepOutput } from "../../../worker/output.ts";

const KIB = 1024;

/** Stores what is appended, and refuses what leaves a gap or overlaps. */
function sink() {
  let kept = Buffer.alloc(0);
  let largest = 0;
  return {
    append: async (offset: number, bytes: Buffer) => {
      expect(offset).toBe(kept.length);
      expect(bytes.length).toBeGreaterThan(0);
      largest = Math.max(largest, bytes.length);
      kept = Buffer.concat([kept, bytes]);
    },
    kept: () => kept,
    largest: () => largest,
  };
}

/** Bytes that differ with their place, cut into pieces. */
function pieces(sizes: readonly number[]): Buffer[] {
  let at = 0;
  return sizes.map((size) => {
    const piece = Buffer.from(Array.from({ length: size }, (_, i) => (at + i) * 31 + ((at + i) >> 8)));
    at += size;
    return piece;
  });
}

describe("however the program cuts its writes", () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 300 }), { maxLength: 30 });
  const caps = fc.integer({ min: 0, max: 2_000 });

  test("what is kept is its first and last bytes, never more than the cap, and all of it if it fits", async () => {
    await fc.assert(
      fc.asyncProperty(sizes, caps, async (cut, cap) => {
        const chunks = pieces(cut);
        const all = Buffer.concat(chunks);
        const { append, kept } = sink();
        const facts = await keepOutput(Readable.from(chunks), cap, append);

        expect(facts.bytesSeen).toBe(all.length);
        expect(facts.sha256).toBe(createHash("sha256").update(all).digest("hex"));
        expect(facts.bytesKept).toBe(Math.min(all.length, cap));
        expect(facts.truncated).toBe(all.length > cap);
        expect(kept().length).toBe(facts.bytesKept);
        const tailBytes = facts.bytesKept - facts.bytesHead;
        const expected = Buffer.concat([all.subarray(0, facts.bytesHead), all.subarray(all.length - tailBytes)]);
        expect(kept().equals(expected)).toBe(true);
        if (facts.truncated) expect(facts.bytesHead).toBeGreaterThanOrEqual(tailBytes);
      }),
    );
  });
});

test("the end of a long log is kept: as much as 64 KiB, or a quarter of a smaller cap", async () => {
  const facts = (cap: number) => keepOutput(Readable.from(pieces(Array(40).fill(16 * KIB))), cap, async () => {});
  expect(await facts(512 * KIB)).toMatchObject({ bytesKept: 512 * KIB, bytesHead: 448 * KIB, truncated: true });
  expect(await facts(1000)).toMatchObject({ bytesKept: 1000, bytesHead: 750, truncated: true });
});

test("of a stream whose cap is nothing, nothing is kept, and everything is counted", async () => {
  const { append, kept } = sink();
  const facts = await keepOutput(Readable.from(pieces([100, 100])), 0, append);
  expect(facts).toMatchObject({ bytesSeen: 200, bytesKept: 0, bytesHead: 0, truncated: true });
  expect(kept()).toHaveLength(0);
});

test("an empty stream has the hash of no bytes", async () => {
  const none = createHash("sha256").digest("hex");
  expect(await keepOutput(Readable.from([]), 100, async () => {})).toEqual({
    bytesSeen: 0,
    bytesKept: 0,
    bytesHead: 0,
    truncated: false,
    sha256: none,
  });
});

test("a chunk far over the cap is not kept in memory, nor sent on, beyond it", async () => {
  const { append, largest } = sink();
  await keepOutput(Readable.from([Buffer.alloc(8 * KIB * KIB)]), 4 * KIB, append);
  expect(largest()).toBeLessThanOrEqual(4 * KIB);
});

test("bytes are sent on as they come, before the stream ends", async () => {
  const stream = new PassThrough();
  const { promise: stored, resolve } = Promise.withResolvers<string>();
  const kept = keepOutput(stream, KIB, async (_, bytes) => resolve(bytes.toString()));
  stream.write("early");
  expect(await stored).toBe("early");
  stream.end();
  await kept;
});

test("a program that writes faster than its output can be stored is slowed", async () => {
  const stream = new PassThrough({ highWaterMark: KIB });
  const gate = Promise.withResolvers<void>();
  const kept = keepOutput(stream, KIB * KIB, () => gate.promise);
  let written = 0;
  while (stream.write(Buffer.alloc(KIB))) {
    written += KIB;
    await new Promise(setImmediate);
    if (written > 100 * KIB) break;
  }
  expect(written).toBeLessThanOrEqual(4 * KIB);
  gate.resolve();
  await once(stream, "drain");
  stream.end();
  await kept;
});

test("output that cannot be stored is an error, and the stream is let go", async () => {
  const stream = new PassThrough();
  stream.write("x");
  await expect(keepOutput(stream, KIB, () => Promise.reject(new Error("Redis is full")))).rejects.toThrow(
    "Redis is full",
  );
  expect(stream.destroyed).toBe(true);
});

test("a stream that breaks is an error", async () => {
  const stream = new PassThrough();
  const kept = keepOutput(stream, KIB, async () => {});
  stream.destroy(new Error("the sandbox was lost"));
  await expect(kept).rejects.toThrow("the sandbox was lost");
});
