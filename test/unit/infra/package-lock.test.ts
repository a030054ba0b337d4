// npm leaves packages of other platforms out of the lock when it cannot fetch them at that moment, and `npm ci` then refuses the
// lock on every machine.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

interface Entry {
  readonly dependencies?: Record<string, string>;
  readonly optionalDependencies?: Record<string, string>;
  readonly devDependencies?: Record<string, string>;
  readonly resolved?: string;
}

const text = readFileSync(join(import.meta.dirname, "../../../package-lock.json"), "utf8");
const packages = (JSON.parse(text) as { packages: Record<string, Entry> }).packages;

/** Where Node would look for it: beside the package, and from there up. */
function isLocked(path: string, name: string): boolean {
  if (packages[`${path === "" ? "" : `${path}/`}node_modules/${name}`]) return true;
  if (path === "") return false;
  return isLocked(path.slice(0, Math.max(0, path.lastIndexOf("/node_modules/"))), name);
}

it("has every package that one of its packages depends on, for whatever platform", () => {
  const missing = Object.entries(packages).flatMap(([path, entry]) =>
    Object.keys({ ...entry.dependencies, ...entry.optionalDependencies, ...entry.devDependencies }).filter(
      (name) => !isLocked(path, name),
    ),
  );
  expect(missing).toEqual([]);
});

it("names no place to fetch packages from: that is the machine's to choose", () => {
  expect(Object.values(packages).filter((entry) => entry.resolved !== undefined)).toEqual([]);
});
