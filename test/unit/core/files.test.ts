// Files as they are asked for: clean paths, bounds, and contents as bytes.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { contentOf, FILE_BOUNDS, modeOf, RunFiles } from "../../../core/files.ts";
import { describeIssues } from "../../../core/issues.ts";
import { RunRequest } from "../../../core/request.ts";

const problems = (files: unknown) => {
  const parsed = RunFiles.safeParse(files);
  return parsed.error ? describeIssues(parsed.error, 10).map(({ path }) => path.join(".")) : [];
};

describe("a path", () => {
  test.each(["/a", "/a/b.c", "/.hidden", "/..a/b..", "/a b/ü", "/a/...", `/${"a".repeat(FILE_BOUNDS.pathBytes - 1)}`])(
    "may be %j",
    (path) => expect(problems([{ path, content: "" }])).toEqual([]),
  );

  test.each([
    ...["", "a", "/", "/a/", "//a", "/a//b", "/..", "/../a", "/a/..", "/a/../b", "/.", "/./a", "/a/.", "./a", "/a\0b"],
    `/${"a".repeat(FILE_BOUNDS.pathBytes)}`,
    `/${"ü".repeat(FILE_BOUNDS.pathBytes / 2)}`,
  ])("may not be %j", (path) => expect(problems([{ path, content: "" }])).toEqual(["0.path"]));

  test("is there once", () => {
    expect(
      problems([
        { path: "/a", content: "" },
        { path: "/b", content: "" },
        { path: "/a", content: "" },
      ]),
    ).toEqual(["2.path"]);
  });
});

describe("a content", () => {
  test("is what was meant, as text and as base 64", () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        const base64 = Buffer.from(bytes).toString("base64");
        expect(contentOf({ path: "/a", base64 })).toEqual(Buffer.from(bytes));
      }),
    );
    expect(contentOf({ path: "/a", content: "ü\0" })).toEqual(Buffer.from([0xc3, 0xbc, 0]));
  });

  test.each([[{}], [{ content: "", base64: "" }], [{ base64: "!" }], [{ content: 1 }], [{ content: "", more: 1 }]])(
    "is one of the two, and nothing else: %j",
    (file) => expect(problems([{ path: "/a", ...file }])).toHaveLength(1),
  );

  test("is bounded with all others, by its bytes in the clear", () => {
    const half = Buffer.alloc(FILE_BOUNDS.totalBytes / 2);
    const file = (path: string, bytes: Buffer) => ({ path, base64: bytes.toString("base64") });
    expect(problems([file("/a", half), file("/b", half)])).toEqual([]);
    expect(problems([file("/a", half), file("/b", Buffer.concat([half, Buffer.from("x")]))])).toEqual([""]);
  });
});

test("permissions are those of a file, and 0644 without them", () => {
  for (const mode of ["0755", "755", "000"]) expect(problems([{ path: "/a", content: "", mode }])).toEqual([]);
  for (const mode of ["4755", "0o755", "rwx", "", "78", "0799", 493])
    expect(problems([{ path: "/a", content: "", mode }])).toEqual(["0.mode"]);
  expect([modeOf({ path: "/a" }), modeOf({ path: "/a", mode: "755" })]).toEqual([0o644, 0o755]);
});

test("there are so many at most, and none with a terminal", () => {
  const files = Array.from({ length: FILE_BOUNDS.count + 1 }, (_, i) => ({ path: `/${i}`, content: "" }));
  expect(problems(files)).toEqual([""]);
  const request = { image: "busybox", files: [{ path: "/a", content: "" }], terminal: { rows: 1, columns: 1 } };
  expect(RunRequest.safeParse(request).error?.issues[0]?.path).toEqual(["files"]);
});
