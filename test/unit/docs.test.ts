// The reference pages say what the code does, no more and no less.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { describeSettings } from "../../core/config.ts";
import { REASONS } from "../../core/errors.ts";
import { openApi } from "../../docs/print-api.ts";
import { PAGES } from "../../docs/print-reference.ts";
import { GATEWAY_SETTINGS } from "../../gateway/config.ts";
import { ROUTE_SCOPES } from "../../gateway/route-scopes.ts";
import { WORKER_SETTINGS } from "../../worker/config.ts";

const read = (name: string) => readFileSync(join(import.meta.dirname, "../../docs", name), "utf8");

test.each(Object.keys(PAGES))("docs/%s is what docs/print-reference.ts prints", async (name) => {
  expect(read(name)).toBe(await PAGES[name]?.());
});

describe("docs/api.md", async () => {
  const document = await openApi();
  const calls = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ call: `${method.toUpperCase()} ${path}`, operation })),
  );

  test("has every call that wants a scope, and a curl for each call", () => {
    const scoped = Object.keys(ROUTE_SCOPES).map((route) => route.replace(/:(\w+)(?:\{[^}]*\})?/g, "{$1}"));
    expect(calls.map(({ call }) => call)).toEqual(expect.arrayContaining(scoped));
    for (const { call } of calls) expect(read("api.md")).toContain(`## ${call}\n`);
    expect(read("api.md").match(/^curl /gm)).toHaveLength(calls.length);
  });

  test.each(calls)("$call says what it does and what it answers, errors too", ({ operation }) => {
    expect(operation.summary).toMatch(/\S/);
    const answers = Object.entries(operation.responses ?? {});
    for (const [, { description }] of answers) expect(description).toMatch(/\S/);
    expect(answers.some(([status]) => status.startsWith("2"))).toBe(true);
  });

  test("refers to no schema that is not there", () => {
    const referred = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/([^"]+)"/g)].map(
      ([, name]) => name,
    );
    expect(referred.length).toBeGreaterThan(10);
    for (const name of referred) expect(Object.keys(document.components.schemas)).toContain(name);
  });
});

describe("docs/errors.md", () => {
  const rows = [...read("errors.md").matchAll(/^\| (?:<a id="\w+"><\/a>)?`(\w+)` \| `(\w+)` \| (.*) \|$/gm)];

  test("documents every reason, and no other", () => {
    expect(rows.map(([, reason]) => reason).toSorted()).toEqual(Object.keys(REASONS).toSorted());
  });

  test("says of each its code and what it means", () => {
    for (const [, reason, code, says] of rows) expect(REASONS[reason as keyof typeof REASONS]).toEqual({ code, says });
  });
});

describe("docs/configuration.md", () => {
  test.each([
    ["gateway", GATEWAY_SETTINGS],
    ["worker", WORKER_SETTINGS],
  ])("has the table of the %s's settings", (_, settings) => {
    expect(read("configuration.md")).toContain(describeSettings(settings));
  });

  test("has no variable that nobody reads", () => {
    const settings = [...Object.values(GATEWAY_SETTINGS), ...Object.values(WORKER_SETTINGS)];
    const documented = [...read("configuration.md").matchAll(/^\| `(MAYFLY_\w+)`/gm)].map(
      ([, variable]) => variable ?? "",
    );
    expect(new Set(documented)).toEqual(new Set(settings.map(({ variable }) => variable)));
  });

  test("has no cell that would break its table", () => {
    for (const line of read("configuration.md")
      .split("\n")
      .filter((each) => each.startsWith("| `"))) {
      expect(line.split("|")).toHaveLength(6);
    }
  });
});
