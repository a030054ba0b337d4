// Reads the tree's own source and holds it to its architecture: who may import whom, and what may be named only in one place.
// A failure lists each offence as file:line.

import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const MAX_LINES = 300;

/** Adding a file to core is a decision, to be written down in docs/decisions and here. */
const CORE_FILES = [
  "api-key.ts",
  "artifacts.ts",
  "batch-parts.ts",
  "batch.ts",
  "bell.ts",
  "byte-reader.ts",
  "clock.ts",
  "config.ts",
  "control.ts",
  "ending-parts.ts",
  "errors.ts",
  "files.ts",
  "host-token.ts",
  "host.ts",
  "ids.ts",
  "images.ts",
  "index-parts.ts",
  "issues.ts",
  "keys.ts",
  "limits.ts",
  "log.ts",
  "offer.ts",
  "plan.ts",
  "queue-parts.ts",
  "record-scripts.ts",
  "record.ts",
  "request.ts",
  "retry.ts",
  "run.ts",
  "schedule.ts",
  "scope.ts",
  "secret.ts",
  "share-parts.ts",
  "tar-header.ts",
  "tar-reader.ts",
  "tar-writer.ts",
  "tenant.ts",
  "told.ts",
  "transition-parts.ts",
  "transitions.ts",
  "units.ts",
  "uploads.ts",
  "version.ts",
  "webhook.ts",
];

/** The code that is shipped and runs: what is forbidden in it may still be useful to set it up or to test it. */
const PRODUCT = ["core", "telemetry", "gateway", "worker", "runtime", "cli"];

/** What Mayfly's queue is measured against. */
const BARE_BULLMQ = "loadtest/bench/queue/bare-bullmq.ts";
/** Where records are made without hosts, to be measured. */
const RECORDS = "loadtest/bench/records/records.ts";

interface Source {
  /** From the root, such as `core/run.ts`. */
  readonly path: string;
  readonly top: string;
  readonly text: string;
  readonly imports: readonly Import[];
}

interface Import {
  readonly line: number;
  /** A path from the root for a file of the project, else the name of a package or of a module of Node's. */
  readonly target: string;
  readonly ours: boolean;
  /** Nothing of it is left when the program runs. */
  readonly typeOnly: boolean;
}

const sources = globSync("{core,telemetry,gateway,worker,runtime,cli,infra,loadtest,docs}/**/*.{ts,js,mjs}", {
  cwd: ROOT,
})
  .filter((path) => !path.includes("node_modules"))
  .toSorted()
  .map(readSource);
const product = sources.filter(({ top }) => PRODUCT.includes(top));

function readSource(path: string): Source {
  const text = readFileSync(join(ROOT, path), "utf8");
  return { path, top: path.split("/")[0] ?? "", text, imports: importsOf(path, text) };
}

/** `import … from "x"`, `export … from "x"`, `import "x"`, `import("x")`; a specifier that is not a literal is an offence of its own. */
function importsOf(path: string, text: string): Import[] {
  const statements = /^(?:import|export)\b(?<clause>[^;"'`]*?)\bfrom\s+["'](?<from>[^"']+)["']/gm;
  const bare = /^import\s+["'](?<from>[^"']+)["']/gm;
  const dynamic = /\bimport\(\s*["'](?<from>[^"']+)["']/g;
  return [statements, bare, dynamic].flatMap((pattern) =>
    [...text.matchAll(pattern)].map((match) => {
      const from = match.groups?.from ?? "";
      const ours = from.startsWith(".");
      return {
        line: lineAt(text, match.index),
        target: ours ? relative(ROOT, join(ROOT, dirname(path), from)) : from,
        ours,
        typeOnly: /^\s*type\b/.test(match.groups?.clause ?? ""),
      };
    }),
  );
}

function lineAt(text: string, index: number): number {
  return text.slice(0, index).split("\n").length;
}

/** Imports that `allowed` does not allow, as `file:line → target`. */
function offences(of: readonly Source[], allowed: (imported: Import, source: Source) => boolean): string[] {
  return of.flatMap((source) =>
    source.imports
      .filter((imported) => !allowed(imported, source))
      .map((imported) => `${source.path}:${imported.line} → ${imported.target}`),
  );
}

/** Places in the code, comments left out, where a pattern is found. */
function mentions(of: readonly Source[], pattern: RegExp): string[] {
  return of.flatMap(({ path, text }) =>
    text
      .split("\n")
      .flatMap((line, i) => (pattern.test(withoutComment(line)) ? [`${path}:${i + 1} ${line.trim()}`] : [])),
  );
}

function withoutComment(line: string): string {
  return /^\s*\/?\*/.test(line) ? "" : line.replace(/(^|\s)\/\/.*$/, "");
}

const isPackage = (target: string, ...names: string[]) =>
  names.some((name) => target === name || target.startsWith(`${name}/`));

test("the reader of imports sees every file and every kind of import", () => {
  expect(product.length).toBeGreaterThan(60);
  const text = [
    'import "./a.ts";',
    'import type { B } from "./b.ts";',
    "import {\n  c,\n  type D,\n} from './c.ts';",
    'export * from "node:fs";',
    'const { e } = await import("../e.ts");',
  ].join("\n");
  expect(importsOf("core/x.ts", text).map(({ target, typeOnly, line }) => [target, typeOnly, line])).toEqual([
    ["core/b.ts", true, 2],
    ["core/c.ts", false, 3],
    ["node:fs", false, 7],
    ["core/a.ts", false, 1],
    ["e.ts", false, 8],
  ]);
});

describe("arrows", () => {
  test.each<[top: string, allowed: readonly string[]]>([
    ["core", []],
    ["telemetry", ["core/"]],
    ["gateway", ["core/", "telemetry/"]],
    ["worker", ["core/", "telemetry/", "runtime/index.ts"]],
    ["runtime", ["core/"]],
    ["cli", ["core/"]],
    ["infra", []],
    ["loadtest", ["core/", "infra/", "runtime/index.ts", "gateway/dispatch/", "worker/"]],
    ["docs", ["core/", "telemetry/settings.ts", "gateway/app.ts", "gateway/config.ts", "worker/config.ts"]],
  ])("%s imports of the project, besides its own files, only %j", (top, allowed) => {
    const own = sources.filter((source) => source.top === top);
    const reach = [`${top}/`, ...allowed, ...(top === "core" ? ["package.json"] : [])];
    expect(offences(own, ({ ours, target }) => !ours || reach.some((path) => target.startsWith(path)))).toEqual([]);
  });

  test("the benchmark is a user like any other, but for the two halves of the queue that it puts together without HTTP and container", () => {
    const halves = ["loadtest/bench/queue/mayfly-client.ts", "loadtest/bench/queue/mayfly-worker.ts"];
    const others = sources.filter(({ top, path }) => top === "loadtest" && !halves.includes(path));
    expect(offences(others, ({ target }) => !/^(gateway|worker)\//.test(target))).toEqual([]);
  });

  test("only core/version.ts reads package.json", () => {
    expect(
      offences(sources, ({ target }, { path }) => target !== "package.json" || path === "core/version.ts"),
    ).toEqual([]);
  });

  test("every file that is imported is there, and is named with its extension", () => {
    expect(offences(sources, ({ ours, target }) => !ours || existsSync(join(ROOT, target)))).toEqual([]);
  });

  test("there is no circle", () => {
    expect(circles(sources)).toEqual([]);
  });

  test("what is imported can be read from the source: no specifier is computed", () => {
    expect(mentions(product, /\bimport\(\s*[^"'\s)]|\brequire\(/)).toEqual([]);
  });
});

describe("packages", () => {
  test("core needs nothing but Node and zod", () => {
    const core = sources.filter(({ top }) => top === "core");
    expect(offences(core, ({ ours, target }) => ours || target.startsWith("node:") || target === "zod")).toEqual([]);
  });

  test("infra needs nothing but Node", () => {
    const infra = sources.filter(({ top }) => top === "infra");
    const allowed = ({ ours, target, typeOnly }: Import) =>
      ours || target.startsWith("node:") || (typeOnly && isPackage(target, "vitest"));
    expect(offences(infra, allowed)).toEqual([]);
  });

  test.each<[string, (source: Source) => boolean, string[]]>([
    [
      "Hono: the gateway, and the image service of a host",
      ({ top, path }) => top === "gateway" || path.startsWith("worker/images/"),
      ["hono", "@hono"],
    ],
    [
      "BullMQ: one file of the gateway, and one of the benchmark",
      ({ path }) => ["gateway/dispatch/timetable.ts", BARE_BULLMQ].includes(path),
      ["bullmq"],
    ],
    [
      "ioredis: the gateway's dispatch, the worker, and two files of the benchmark",
      ({ path }) => [BARE_BULLMQ, RECORDS].includes(path) || /^(gateway\/dispatch|worker)\//.test(path),
      ["ioredis"],
    ],
    ["OpenTelemetry: one folder", ({ path }) => path.startsWith("telemetry/otel/"), ["@opentelemetry"]],
  ])("who knows %s", (_, knows, names) => {
    expect(offences(sources, ({ target }, source) => knows(source) || !isPackage(target, ...names))).toEqual([]);
  });

  test("what knows OpenTelemetry is loaded by one file, when it is asked for and not before", () => {
    const outside = sources.filter(({ path }) => !path.startsWith("telemetry/otel/"));
    const loads = outside.flatMap(({ path, imports }) =>
      imports.filter(({ target }) => target.startsWith("telemetry/otel/")).map(({ target }) => `${path} → ${target}`),
    );
    expect(loads).toEqual(["telemetry/start.ts → telemetry/otel/sdk.ts"]);
    const loader = outside.find(({ path }) => path === "telemetry/start.ts");
    expect(loader?.text).toContain('await import("./otel/sdk.ts")');
  });

  test("every package that the product needs is a dependency, and none is only for development", () => {
    const { dependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
    const named = (target: string) => Object.keys(dependencies).some((name) => isPackage(target, name));
    expect(offences(product, ({ ours, target }) => ours || target.startsWith("node:") || named(target))).toEqual([]);
  });
});

describe("what is done in one place", () => {
  test("processes are started in runtime/host/command.ts", () => {
    const starts = ({ target, typeOnly }: Import) => /^(node:)?child_process$/.test(target) && !typeOnly;
    expect(offences(product, (imported, { path }) => path === "runtime/host/command.ts" || !starts(imported))).toEqual(
      [],
    );
  });

  test("the environment is read, and the process is ended, in main.ts files", () => {
    const others = product.filter(({ path }) => !/(^|\/)main\.ts$/.test(path));
    expect(mentions(others, /\bprocess\.(env\b|exit\()/)).toEqual([]);
  });

  test("there is a main.ts for each process, and no other", () => {
    const mains = product.map(({ path }) => path).filter((path) => /(^|\/)main\.ts$/.test(path));
    expect(mains).toEqual(["cli/main.ts", "gateway/main.ts", "worker/main.ts"]);
  });
});

describe("what is done nowhere", () => {
  test("waiting for a run by BullMQ's events, which lose some", () => {
    expect(mentions(product, /\b(waitUntilFinished|QueueEvents)\b/)).toEqual([]);
  });

  test("switching the type checker or the linter off without saying why", () => {
    expect(mentions(product, /\bas any\b/)).toEqual([]);
    const silenced = product.flatMap(({ path, text }) =>
      text
        .split("\n")
        .flatMap((line, i) =>
          /@ts-(ignore|nocheck)|biome-ignore(?!.*: \S)/.test(line) ? [`${path}:${i + 1} ${line.trim()}`] : [],
        ),
    );
    expect(silenced).toEqual([]);
  });

  test("a drawer for what has no name", () => {
    const drawers = /(^|\/)(utils?|common|types|helpers|misc|shared)(\.ts|\/)/;
    expect(sources.map(({ path }) => path).filter((path) => drawers.test(path))).toEqual([]);
  });
});

describe("files", () => {
  test("core has these and no others", () => {
    const files = sources.filter(({ top }) => top === "core").map(({ path }) => path.slice("core/".length));
    expect(files).toEqual(CORE_FILES);
  });

  test("each begins by saying what it is", () => {
    expect(sources.filter(({ text }) => !/^(\/\/ \S|#!|\/\*)/.test(text)).map(({ path }) => `${path}:1`)).toEqual([]);
  });

  test(`each has at most ${MAX_LINES} lines`, () => {
    const long = sources.flatMap(({ path, text }) => {
      const lines = text.trimEnd().split("\n").length;
      return lines > MAX_LINES ? [`${path}:${lines}`] : [];
    });
    expect(long).toEqual([]);
  });

  test("each is named in kebab case", () => {
    expect(sources.map(({ path }) => path).filter((path) => !/^([a-z0-9-]+\/)*[a-z0-9.-]+$/.test(path))).toEqual([]);
  });
});

/** Each circle of imports once, as `a → b → a`. What is imported for its types alone counts: an interface knows no implementation. */
function circles(of: readonly Source[]): string[] {
  const targets = new Map(
    of.map(({ path, imports }) => [path, imports.filter(({ ours }) => ours).map(({ target }) => target)]),
  );
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    const at = trail.indexOf(path);
    if (at >= 0) return void found.push([...trail.slice(at), path].join(" → "));
    if (done.has(path)) return;
    for (const target of targets.get(path) ?? []) visit(target, [...trail, path]);
    done.add(path);
  };
  for (const path of targets.keys()) visit(path, []);
  return found;
}
