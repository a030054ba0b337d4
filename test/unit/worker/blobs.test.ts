import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Hono } from "hono";
import { expect, test } from "vitest";
import type { ImageAdmin } from "../../../runtime/index.ts";
import { answerBlob } from "../../../worker/images/blobs.ts";
import { openFiles } from "../../helpers/open-files.ts";

/** More than a stream reads ahead: only its reader brings it to its end. */
const SIZE = 2 ** 20;

test("whoever asks only for a blob's head leaves no file open", async () => {
  const directory = await mkdtemp(join(tmpdir(), "mayfly-blobs-"));
  const path = join(directory, "blob");
  await writeFile(path, Buffer.alloc(SIZE));
  const admin = { blob: async () => ({ path, size: SIZE }) } as Partial<ImageAdmin> as ImageAdmin;
  const app = new Hono().get("/", (c) => answerBlob(c, admin, `sha256:${"0".repeat(64)}`));
  const head = await app.request("/", { method: "HEAD" });
  expect([head.status, head.headers.get("content-length")]).toEqual([200, String(SIZE)]);
  expect(await openFiles(directory)).toBe(0);
  expect((await (await app.request("/")).arrayBuffer()).byteLength).toBe(SIZE);
  expect(await openFiles(directory)).toBe(0);
  await rm(directory, { recursive: true });
});
