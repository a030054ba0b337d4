import { once } from "node:events";
import { PassThrough, Writable } from "node:stream";
import { buffer } from "node:stream/consumers";
import fc from "fast-check";
import { expect, test } from "vitest";
import { feedInput } from "../../../worker/input.ts";

const NEVER = new AbortController().signal;

/** Input that grows when the test says so. */
function source() {
  let stored = Buffer.alloc(0);
  let closed = false;
  const wakes = new Set<() => void>();
  const change = () => {
    for (const wake of wakes) wake();
  };
  return {
    add(text: string | Buffer) {
      stored = Buffer.concat([stored, Buffer.from(text)]);
      change();
    },
    close() {
      closed = true;
      change();
    },
    listeners: () => wakes.size,
    read: async (offset: number, length: number) => {
      const bytes = stored.subarray(offset, offset + length);
      return { bytes, complete: closed && bytes.length < length };
    },
    listen: async (wake: () => void) => {
      wakes.add(wake);
      return async () => void wakes.delete(wake);
    },
  };
}

test("a source that fails is an error; the program's stdin is closed and nobody listens any more", async () => {
  const input = source();
  const stdin = new PassThrough();
  const broken = { ...input, read: () => Promise.reject(new Error("Redis is away")) };
  await expect(feedInput(stdin, broken, NEVER)).rejects.toThrow("Redis is away");
  expect(stdin.writableEnded).toBe(true);
  expect(input.listeners()).toBe(0);
});

test("a program that closes its stdin ends the feeding, without an error", async () => {
  const input = source();
  const stdin = new PassThrough();
  const feeding = feedInput(stdin, input, NEVER);
  stdin.destroy();
  await feeding;
  expect(input.listeners()).toBe(0);
});

test("a program that closes its stdin while it is full ends the feeding", async () => {
  const input = source();
  input.add(Buffer.alloc(1024));
  const stdin = new Writable({ highWaterMark: 16, write: () => {} });
  const feeding = feedInput(stdin, input, NEVER);
  await Promise.resolve();
  stdin.destroy();
  await feeding;
});

test("an abort ends the feeding of input that is not complete", async () => {
  const input = source();
  const over = new AbortController();
  const stdin = new PassThrough();
  const feeding = feedInput(stdin, input, over.signal);
  over.abort();
  await feeding;
  expect(stdin.writableEnded).toBe(true);
  expect(input.listeners()).toBe(0);
});

test("an abort ends the feeding of a program that does not read", async () => {
  const input = source();
  input.add(Buffer.alloc(1024));
  const over = new AbortController();
  const full = Promise.withResolvers<void>();
  const stdin = new Writable({ highWaterMark: 16, write: () => full.resolve() });
  const feeding = feedInput(stdin, input, over.signal);
  await full.promise;
  over.abort();
  const ended = await Promise.race([feeding.then(() => true), ticks(50).then(() => false)]);
  expect(ended).toBe(true);
});

test("an abort that came before ends the feeding before anything is read", async () => {
  const stdin = new PassThrough();
  await feedInput(stdin, source(), AbortSignal.abort());
  expect(stdin.writableEnded).toBe(true);
});

test("input that is all there is given, and then end of file", async () => {
  const input = source();
  input.add("hello");
  input.close();
  const stdin = new PassThrough();
  await feedInput(stdin, input, NEVER);
  expect((await buffer(stdin)).toString()).toBe("hello");
});

test("input that comes in pieces arrives whole and in order, whatever the pieces", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.string({ minLength: 1 }), { maxLength: 10 }), async (texts) => {
      const input = source();
      const stdin = new PassThrough();
      const read = buffer(stdin);
      const feeding = feedInput(stdin, input, NEVER);
      for (const text of texts) {
        input.add(text);
        await Promise.resolve();
      }
      input.close();
      await feeding;
      expect((await read).toString()).toBe(texts.join(""));
    }),
  );
});

test("input larger than one piece arrives at the program's pace, unchanged", async () => {
  const input = source();
  const bytes = Buffer.from(Array.from({ length: 600 * 1024 }, (_, i) => i * 7));
  input.add(bytes);
  input.close();
  const stdin = new PassThrough({ highWaterMark: 1024 });
  const read = buffer(stdin);
  await feedInput(stdin, input, NEVER);
  expect((await read).equals(bytes)).toBe(true);
});

test("a program is given what there is while more is to come", async () => {
  const input = source();
  const stdin = new PassThrough();
  const feeding = feedInput(stdin, input, NEVER);
  input.add("first");
  expect(String((await once(stdin, "data"))[0])).toBe("first");
  input.close();
  await feeding;
});

/** Turns of the event loop: what can happen without a clock has happened by then. */
async function ticks(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise(setImmediate);
}
