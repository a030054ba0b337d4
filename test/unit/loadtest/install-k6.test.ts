// The installation of k6, in a small project of the test's own; Go is a stand-in, newer than any there is.

import { spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";

const SCRIPT = join(import.meta.dirname, "../../../loadtest/install-k6.sh");
/** `go env GOVERSION`, and `go install MODULE@VERSION`, which makes a k6 that says its version. */
const GO = `#!/bin/sh
[ "$1" = env ] && { echo go1.99.1; exit; }
mkdir -p "$GOBIN"
printf '#!/bin/sh\\necho "k6 %s (go1.99.1, linux/amd64)"\\n' "\${2#*@}" >"$GOBIN/k6"
chmod 755 "$GOBIN/k6"
`;

let project: string;
beforeEach(() => {
  project = mkdtempSync(join(tmpdir(), "mayfly-k6-"));
  mkdirSync(join(project, "loadtest"));
  cpSync(SCRIPT, join(project, "loadtest/install-k6.sh"));
  place("fake-bin/go", GO);
});
afterEach(() => rmSync(project, { recursive: true }));

function place(path: string, script: string): void {
  mkdirSync(join(project, path, ".."), { recursive: true });
  writeFileSync(join(project, path), script);
  chmodSync(join(project, path), 0o755);
}

function install() {
  const env = { ...process.env, PATH: `${project}/fake-bin:${process.env.PATH}` };
  const { status, stdout, stderr } = spawnSync("sh", [join(project, "loadtest/install-k6.sh")], {
    env,
    encoding: "utf8",
  });
  return { status, stdout, stderr };
}

const SILENT = { status: 0, stdout: "", stderr: "" };
const pinned = () => /^today=(.*)$/m.exec(readFileSync(SCRIPT, "utf8"))?.[1] ?? "";
const k6Says = () => spawnSync(join(project, ".tools/bin/k6"), ["version"], { encoding: "utf8" }).stdout;

it("builds the k6 that is pinned and says so, and the second time nothing", () => {
  const { status, stdout, stderr } = install();
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(stdout).toMatch(/^k6: building k6 v[\d.]+ with Go 1\.99: [^\n]*\n$/);
  expect(k6Says()).toContain(`k6 ${pinned()} `);
  expect(install()).toEqual(SILENT);
  expect(readdirSync(join(project, ".tools"))).toEqual(["bin"]);
});

it("replaces a k6 of another version", () => {
  place(".tools/bin/k6", "#!/bin/sh\necho 'k6 v0.1.0 (go1.1, linux/amd64)'\n");
  expect(install().stdout).toContain("building k6");
  expect(k6Says()).toContain(`k6 ${pinned()} `);
});

it("shows what Go said when the build fails, and leaves nothing", () => {
  place("fake-bin/go", "#!/bin/sh\n[ $1 = env ] && { echo go1.99.1; exit; }\necho no such module >&2\nexit 1\n");
  const { status, stderr } = install();
  expect(status).toBe(1);
  expect(stderr).toContain("no such module");
  expect(stderr).toMatch(/^k6: this failed: .*go install go\.k6\.io\/k6@v/m);
  expect(existsSync(join(project, ".tools/bin/k6"))).toBe(false);
  expect(readdirSync(join(project, ".tools"))).toEqual([]);
});
