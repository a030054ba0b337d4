// What a batch's input is made of before Redis has it: lines out of bytes, requests out of a template.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ItemReader } from "../../../gateway/batches/items.ts";
import { Rest, readLineGroups } from "../../../gateway/batches/lines.ts";
import { Template } from "../../../gateway/batches/template.ts";

async function* piecesOf(bytes: Buffer, cuts: readonly number[]): AsyncGenerator<Uint8Array> {
  let from = 0;
  for (const cut of [...cuts, bytes.length]) {
    const to = Math.min(bytes.length, Math.max(from, cut));
    yield bytes.subarray(from, to);
    from = to;
  }
}

async function linesOf(bytes: Buffer, cuts: readonly number[], maxBytes: number) {
  const lines: (string | undefined)[] = [];
  for await (const group of readLineGroups(piecesOf(bytes, cuts), { after: 0, maxBytes }))
    for (const line of group) {
      expect(line.number).toBe(lines.length + 1);
      lines.push(line.bytes?.toString());
    }
  return lines;
}

describe("lines", () => {
  test("are the same however the bytes are cut, and one that is too long is told without its bytes", async () => {
    const words = fc.array(fc.string({ maxLength: 30 }).map((word) => word.replaceAll("\n", " ")));
    const cuts = fc.array(fc.nat(500)).map((all) => all.toSorted((a, b) => a - b));
    await fc.assert(
      fc.asyncProperty(words, cuts, fc.boolean(), async (lines, where, isEnded) => {
        const text = lines.join("\n") + (isEnded && lines.length > 0 ? "\n" : "");
        const expected = text.split("\n");
        if (expected.at(-1) === "") expected.pop();
        const found = await linesOf(Buffer.from(text), where, 20);
        expect(found).toEqual(expected.map((line) => (Buffer.byteLength(line) > 20 ? undefined : line)));
      }),
    );
  });

  test("byte by byte are the same", async () => {
    const words = ["a", "", "b".repeat(1000), "c".repeat(1001), "d"];
    const bytes = Buffer.from(words.join("\n"));
    const everywhere = Array.from({ length: bytes.length }, (_, i) => i);
    expect(await linesOf(bytes, everywhere, 1000)).toEqual(["a", "", "b".repeat(1000), undefined, "d"]);
  });

  test("that are not whole yet are held in one buffer of less than twice their bytes, and never more than a line may have", () => {
    const rest = new Rest(100_000);
    const byte = Buffer.from("x");
    for (let length = 1; length <= 100_000; length++) {
      rest.add(byte);
      if (rest.held > Math.min(100_000, Math.max(256, 2 * length))) expect.fail(`${rest.held} bytes for ${length}`);
    }
    rest.add(byte);
    expect(rest.held).toBe(0);
    expect(rest.take()).toBeUndefined();
    rest.add(byte);
    expect(rest.take()?.toString()).toBe("x");
  });
});

describe("a template", () => {
  const request = { image: "busybox", command: ["sh", "-c", "echo {} {}", "{}", '"{'], env: { A: "{}" } };

  test("joined with an input is the JSON of the request that is meant, whatever the input", () => {
    const { pieces, fill } = bound(new Template(request, false));
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (input) => {
        fc.pre(!input.includes("\0"));
        const { body } = fill(input);
        const command = request.command.map((word) => word.split("{}").join(input));
        expect(JSON.parse(pieces.join(body))).toEqual({ ...request, command });
      }),
    );
  });

  test("takes no input that the command has no room for, or that no argument can hold", () => {
    const { fill } = bound(new Template(request, false));
    expect(() => fill("x".repeat(40_000))).not.toThrow();
    expect(() => fill("x".repeat(50_000))).toThrow("command and env together more than 131072");
    expect(() => fill("a\0b")).toThrow("NUL");
    expect(() => fill({ input: "a", other: 1 })).toThrow("other is not a field");
  });

  test("whose inputs go to stdin only has one piece, and an input with a NUL", () => {
    const { pieces, fill } = bound(new Template({ image: "busybox" }, true));
    expect([pieces.length, fill("a\0b")]).toEqual([1, { key: undefined, body: "", stdin: "a\0b" }]);
  });
});

const bound = (template: Template) => ({ pieces: template.pieces, fill: (value: unknown) => template.fill(value) });

test("items that are placed alike have one shape, which is told once for those that are read together", () => {
  const reader = new ItemReader(
    { pools: ["default"], destinations: { admit: () => {} }, maxLineBytes: 1000 },
    undefined,
  );
  const read = (value: unknown) => reader.read({ number: 1, bytes: Buffer.from(JSON.stringify(value)) });
  const texts = ["a", "b"].map((word) => String(read({ image: word, key: word })?.text));
  const small = String(read({ image: "c", limits: { memory: "16MiB" } })?.text);
  expect(texts[0]?.split(" ")[0]).toBe(texts[1]?.split(" ")[0]);
  expect(small.split(" ")[0]).not.toBe(texts[0]?.split(" ")[0]);
  expect(reader.takeShapes().size).toBe(2);
  expect(reader.takeShapes().size).toBe(0);
});
