// What k6 runs is written so that the k6 which Debian's Go builds can read it too: it knows modules and ES2015, and little more.

import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const FOLDER = join(import.meta.dirname, "../../../loadtest/k6");
const NEWER = [
  /\?\./,
  /\?\?/,
  /\|\|=|&&=/,
  /\{\s*\.\.\./,
  /\bcatch\s*\{/,
  /\basync\b|\bawait\b/,
  /\d_\d/,
  /\*\*/,
  /\bstatic\b|this\.#/,
];

test.each(globSync("*.js", { cwd: FOLDER }))("%s has no syntax of later years", (name) => {
  const lines = readFileSync(join(FOLDER, name), "utf8").split("\n");
  const newer = lines.filter((line) => !/^\s*(\/\*\*|\*|\/\/)/.test(line) && NEWER.some((syntax) => syntax.test(line)));
  expect(newer).toEqual([]);
});
