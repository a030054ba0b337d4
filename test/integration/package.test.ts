// The package as npm packs it, in a folder that has nothing else: the client, its types and the command run there without Mayfly's source.

import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { finished, startProcess } from "../../runtime/host/command.ts";
import { ROOT } from "../helpers/process.ts";
import { FakeGateway } from "../unit/cli/fake-gateway.ts";

let directory: string;
let gateway: FakeGateway;

/** What npm would do with the tarball: unpack it, put its dependencies beside it (the project's own) and link its command. */
beforeAll(async () => {
  gateway = await new FakeGateway().listen();
  directory = await mkdtemp(join(tmpdir(), "mayfly-package-"));
  const packed = await tell(["npm", "pack", "--silent", "--pack-destination", directory], ROOT);
  expect(packed).toMatchObject({ exitCode: 0 });
  const tarball = String((await readdir(directory)).find((name) => name.endsWith(".tgz")));
  const installed = join(directory, "node_modules/mayfly");
  await mkdir(installed, { recursive: true });
  await mkdir(join(directory, "node_modules/.bin"));
  await tell(["tar", "-xzf", join(directory, tarball), "--strip-components=1", "-C", installed]);
  for (const name of ["zod", "node", "@types", "undici-types"])
    await symlink(join(ROOT, "node_modules", name), join(directory, "node_modules", name));
  await symlink(join(ROOT, "node_modules/.bin/node"), join(directory, "node_modules/.bin/node"));
  await symlink("../mayfly/cli/mayfly", join(directory, "node_modules/.bin/mayfly"));
  await writeFile(join(directory, "package.json"), '{"type":"module"}');
}, 120_000);

afterAll(async () => {
  await gateway.close();
  await rm(directory, { recursive: true, force: true });
});

async function tell(argv: readonly [string, ...string[]], cwd = directory) {
  const env = { PATH: process.env.PATH, HOME: directory, MAYFLY_URL: gateway.url, npm_config_ignore_scripts: "false" };
  const child = startProcess(argv, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  child.stdout?.on("data", (bytes) => {
    stdout += bytes;
  });
  const { exitCode, stderrTail } = await finished(child);
  return { exitCode, stdout, stderr: stderrTail };
}

const PROGRAM = `import { Mayfly, MayflyError } from "mayfly";
const mayfly = new Mayfly({ url: String(process.env.MAYFLY_URL) });
const run = await mayfly.run({ image: "busybox" });
const code: number | undefined = run.outcome.kind === "exited" ? run.outcome.exitCode : undefined;
console.log(code, typeof MayflyError);
`;

it("has the client and the command as JavaScript with declarations, and no source to strip", async () => {
  const files = (await readdir(join(directory, "node_modules/mayfly"), { recursive: true })).filter(
    (name) => name.endsWith(".ts") && !name.endsWith(".d.ts"),
  );
  expect(files).toEqual([]);
  expect(await readdir(join(directory, "node_modules/mayfly"))).toEqual(
    expect.arrayContaining(["LICENSE", "README.md", "cli", "dist", "docs", "package.json"]),
  );
});

it("is imported by a program, which makes a run with it", async () => {
  await writeFile(join(directory, "program.ts"), PROGRAM);
  expect(await tell([process.execPath, "program.ts"])).toEqual({ exitCode: 0, stdout: "0 function\n", stderr: "" });
});

it("gives a program its types, so that a wrong request is none", async () => {
  const check = (name: string) =>
    tell([
      ...([join(ROOT, "node_modules/.bin/tsc"), "--noEmit", "--strict", "--module", "nodenext"] as const),
      ...["--target", "es2024", "--lib", "es2025,esnext.disposable", "--types", "node", name],
    ]);
  await writeFile(join(directory, "right.ts"), PROGRAM);
  expect(await check("right.ts")).toMatchObject({ exitCode: 0, stdout: "" });
  await writeFile(join(directory, "wrong.ts"), PROGRAM.replace("image:", "imgae:"));
  expect((await check("wrong.ts")).stdout).toContain("'imgae' does not exist in type");
});

it("runs the command", async () => {
  const help = await tell(["npx", "--no-install", "mayfly", "--help"]);
  expect(help).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("Usage: mayfly") });
  expect(await tell(["npx", "--no-install", "mayfly", "run", "busybox"])).toMatchObject({ exitCode: 0 });
  expect((await tell(["npx", "--no-install", "mayfly", "bench"])).stderr).toContain(
    "the benchmark is not installed here",
  );
});
