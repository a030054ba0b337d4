import { describe, expect, test } from "vitest";
import { MayflyError } from "../../../core/errors.ts";
import type { RunRecord } from "../../../core/record.ts";
import { formatEntry } from "../../../core/uploads.ts";
import type { StreamedFile } from "../../../runtime/index.ts";
import { type FileSource, openBrought } from "../../../worker/brought.ts";
import { wholeOf } from "../../helpers/archive.ts";

const ID = "upl_01k3q7v2m8r4t6w9x1z3b5c7d9";
const BYTES = Buffer.concat([
  ...[formatEntry({ path: "src/", mode: 0o755, bytes: 0 })],
  ...[formatEntry({ path: "src/a", mode: 0o644, bytes: 5 }), Buffer.from("hello")],
  ...[formatEntry({ path: "b", mode: 0o755, bytes: 1 }), Buffer.from("x")],
]);

/** Cut into pieces of any size, of which some may be missing; `reads` counts. */
function sourceOf({ length = 7, missing = -1 } = {}) {
  const reads: number[] = [];
  const pieces = Array.from({ length: Math.ceil(BYTES.length / length) }, (_, i) =>
    BYTES.subarray(i * length, (i + 1) * length),
  );
  const source: FileSource = {
    files: async () => [{ path: "/in/b", content: "inline" }],
    upload: async (id, tenant) => (id === ID && tenant === "acme" ? { entries: 3, pieces: pieces.length } : undefined),
    uploadPiece: async (_, index) => {
      reads.push(index);
      return index === missing ? undefined : pieces[index];
    },
  };
  return { source, reads, count: pieces.length };
}

const recordOf = (request: object, tenant = "acme") =>
  ({ id: "run_1", tenant, request: { image: "busybox", ...request } }) as unknown as RunRecord;
const WITH = recordOf({ upload: { id: ID, path: "/in" } });

async function all(streamed: AsyncIterable<StreamedFile> | undefined) {
  const files = [];
  for await (const { content, ...file } of streamed ?? [])
    files.push({ ...file, text: String(await wholeOf(content)) });
  return files;
}

const refused = (error: unknown, brought: { explain: (error: unknown) => Promise<never> }) =>
  brought.explain(error).catch((thrown: unknown) => thrown);
const placing = (index: number) =>
  new MayflyError("invalid_field", `files.${index} cannot be written: No space left on device`);

describe("what a run brings along", () => {
  test.each([1, 7, 16, 1000])(
    "is the upload's files under the path, from pieces of %d bytes, each read once",
    async (length) => {
      const { source, reads, count } = sourceOf({ length });
      const { spec } = await openBrought(WITH, source);
      expect(reads).toEqual([]);
      expect(await all(spec.streamed)).toEqual([
        { path: "/in/src/", mode: 0o755, bytes: 0, text: "" },
        { path: "/in/src/a", mode: 0o644, bytes: 5, text: "hello" },
        { path: "/in/b", mode: 0o755, bytes: 1, text: "x" },
      ]);
      expect(reads).toEqual(Array.from({ length: count }, (_, i) => i));
    },
  );

  test("without an upload is the request's own files, or nothing, and asks for nothing more", async () => {
    const { source, reads } = sourceOf();
    expect((await openBrought(recordOf({}), source)).spec).toEqual({});
    const { spec } = await openBrought(recordOf({ files: [] }), source);
    expect(spec).toEqual({ files: [{ path: "/in/b", mode: 0o644, content: Buffer.from("inline") }] });
    expect(reads).toEqual([]);
  });

  test("is not there for another tenant, or once it has gone, also in the middle", async () => {
    await expect(openBrought(recordOf({ upload: { id: ID } }, "other"), sourceOf().source)).rejects.toMatchObject({
      reason: "upload_not_found",
    });
    const { spec } = await openBrought(WITH, sourceOf({ missing: 3 }).source);
    await expect(all(spec.streamed)).rejects.toMatchObject({ reason: "upload_not_found" });
  });
});

describe("a file that could not be written", () => {
  test("of the upload is told by its path", async () => {
    const brought = await openBrought(WITH, sourceOf().source);
    expect(await refused(placing(1), brought)).toMatchObject({
      reason: "invalid_field",
      message: "upload: /in/src/a cannot be written: No space left on device",
      details: { field: "upload" },
    });
  });

  test("of the request is told by its number there", async () => {
    const brought = await openBrought(WITH, sourceOf().source);
    expect(await refused(placing(3), brought)).toMatchObject({
      message: expect.stringMatching(/^files\.0 /),
      details: { field: "files.0" },
    });
  });

  test("is told as it is without an upload, and so is any other error", async () => {
    const error = placing(0);
    expect(await refused(error, await openBrought(recordOf({}), sourceOf().source))).toBe(error);
    const other = new Error("files.0 of something else");
    expect(await refused(other, await openBrought(WITH, sourceOf().source))).toBe(other);
  });
});
