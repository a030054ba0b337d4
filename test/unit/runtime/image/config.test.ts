import { expect, test } from "vitest";
import { parseConfig } from "../../../../runtime/image/config.ts";

const HOST = { os: "linux", architecture: "amd64" };
const DIFF_ID = `sha256:${"b".repeat(64)}`;

function parse(value: object, layers = 0) {
  return parseConfig(Buffer.from(JSON.stringify({ rootfs: { type: "layers", diff_ids: [] }, ...value })), HOST, layers);
}

test("absent and null fields are normalised away", () => {
  const empty = { env: [], entrypoint: [], command: [], workdir: "/", user: "" };
  expect(parse({}).config).toEqual(empty);
  expect(parse({ config: null }).config).toEqual(empty);
  expect(parse({ config: { Env: null, Entrypoint: null, Cmd: null, WorkingDir: "", User: null } }).config).toEqual(
    empty,
  );
});

test.each([
  ["app", "/app"],
  ["/a//b/", "/a/b"],
  ["../../etc", "/etc"],
])("the working directory %s is %s", (written, workdir) => {
  expect(parse({ config: { WorkingDir: written } }).config.workdir).toBe(workdir);
});

test("an environment entry without a name is no variable", () => {
  expect(parse({ config: { Env: ["A=1", "B=", "NOTHING", "=x"] } }).config.env).toEqual(["A=1", "B="]);
});

test("the number of DiffIDs must be that of the manifest's layers", () => {
  const rootfs = { type: "layers", diff_ids: [DIFF_ID] };
  expect(parse({ rootfs }, 1).diffIds).toEqual([DIFF_ID]);
  expect(() => parse({ rootfs }, 2)).toThrow(expect.objectContaining({ reason: "image_corrupt" }));
});

test.each([
  ["another architecture", { os: "linux", architecture: "arm64" }],
  ["another system", { os: "windows", architecture: "amd64" }],
  ["a level that the host may not have", { os: "linux", architecture: "amd64", variant: "v4" }],
])("a config for %s is unsupported", (_what, platform) => {
  expect(() => parse(platform)).toThrow(expect.objectContaining({ reason: "image_unsupported" }));
});

test.each([
  ["a NUL in a command", { config: { Cmd: ["a\0b"] } }, "config.Cmd.0"],
  ["a command that is one string", { config: { Cmd: "sh" } }, "config.Cmd"],
  ["a DiffID that is none", { rootfs: { diff_ids: ["x"] } }, "rootfs.diff_ids.0"],
  ["no list of layers", { rootfs: null }, "rootfs"],
])("a config with %s is corrupt, and the error names the field", (_what, value, field) => {
  expect(() => parse(value)).toThrow(
    expect.objectContaining({ reason: "image_corrupt", message: expect.stringContaining(field) }),
  );
});

test("of a platform that is refused only so much is told as fits on a line", () => {
  const refused = () => parse({ os: "linux\x1b[2J\n", architecture: "m".repeat(100_000) });
  expect(refused).toThrow(/^[\x20-\x7e…]{1,200}$/);
});
