import { expect, test } from "vitest";
import { type ErrorReason, MayflyError, REASONS } from "../../../core/errors.ts";
import { toProblem } from "../../../gateway/problem.ts";
import { PUBLIC_ROUTES } from "../../../gateway/route-scopes.ts";
import { makeApp } from "./app-under-test.ts";

const { app, request } = makeApp();
const METHODS = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

interface Document {
  readonly openapi: string;
  readonly info: { readonly title: string; readonly version: string };
  readonly paths: Record<string, Record<string, Operation>>;
  readonly webhooks: Record<string, Record<string, Operation>>;
  readonly components: { readonly schemas: Record<string, unknown>; readonly securitySchemes: Record<string, unknown> };
  readonly security: Record<string, unknown>[];
}
interface Operation {
  readonly summary?: string;
  readonly security?: unknown[];
  readonly responses: Record<string, { readonly description?: string }>;
  readonly parameters?: {
    readonly name: string;
    readonly in: string;
    readonly required?: boolean;
    readonly schema?: object;
  }[];
}

const document = (await (await request("/openapi.json")).json()) as Document;
const operations = Object.entries(document.paths).flatMap(([path, item]) =>
  Object.entries(item).map(([method, operation]) => ({ path, method, operation })),
);

test("every route of /v1 is in the OpenAPI document, and the document has no other", () => {
  const routes = app.routes.filter(({ method, path }) => method !== "ALL" && path.startsWith("/v1"));
  const served = routes.map(
    ({ method, path }) => `${method.toLowerCase()} ${path.replace(/:(\w+)(\{.+?\})?/g, "{$1}")}`,
  );
  const documented = operations
    .filter(({ path }) => path.startsWith("/v1"))
    .map(({ method, path }) => `${method} ${path}`);
  expect(documented.toSorted()).toEqual([...new Set(served)].toSorted());
  expect(documented.length).toBeGreaterThan(5);
});

test("the document is OpenAPI 3.1 in its structure", () => {
  expect(document.openapi).toBe("3.1.0");
  expect(document.info).toMatchObject({ title: "Mayfly", version: expect.stringMatching(/^\d+\.\d+\.\d+/) });
  for (const { path, method, operation } of operations) {
    const where = `${method} ${path}`;
    expect(METHODS, where).toContain(method);
    expect(operation.summary, where).toBeTruthy();
    expect(Object.keys(operation.responses).length, where).toBeGreaterThan(0);
    for (const [status, response] of Object.entries(operation.responses)) {
      expect(status, where).toMatch(/^([1-5]\d\d|default)$/);
      expect(response.description, `${where} ${status}`).toBeTruthy();
    }
  }
});

test("what is sent to webhooks is in the document, too", () => {
  const schema = { $ref: "#/components/schemas/RunFinished" };
  expect(document.webhooks["run.finished"]?.post).toMatchObject({
    requestBody: { content: { "application/json": { schema } } },
  });
  expect(document.components.schemas).toHaveProperty("RunFinished");
});

test("every parameter in a path is declared, required, and has a shape", () => {
  for (const { path, method, operation } of operations) {
    const declared = (operation.parameters ?? []).filter((parameter) => parameter.in === "path");
    const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    expect(declared.map(({ name }) => name).toSorted(), `${method} ${path}`).toEqual(named.toSorted());
    for (const parameter of declared) expect(parameter).toMatchObject({ required: true, schema: expect.any(Object) });
  }
});

test("every reference leads to something", () => {
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]*)"/g)].map(([, target]) => target ?? "");
  expect(references.length).toBeGreaterThan(10);
  for (const target of new Set(references)) {
    expect(target).toMatch(/^#\//);
    const found = target
      .slice(2)
      .split("/")
      .reduce<unknown>((at, name) => (at as Record<string, unknown> | undefined)?.[name], document);
    expect(found, target).toBeDefined();
  }
});

test("the shapes of a request and of a run are among the named ones", () => {
  expect(Object.keys(document.components.schemas)).toEqual(
    expect.arrayContaining(["RunRequest", "Run", "RunList", "Outcome", "Receipt", "Limits", "Timeouts", "Problem"]),
  );
});

test("a key is asked for everywhere but on the public routes", () => {
  expect(document.security).toEqual([{ key: [] }]);
  expect(document.components.securitySchemes).toEqual({ key: { type: "http", scheme: "bearer" } });
  for (const { path, operation } of operations) {
    expect(operation.security, path).toEqual(PUBLIC_ROUTES.has(path) ? [] : [{ key: [expect.any(String)] }]);
  }
});

test("every call that may fail says how, and every failure is a problem", () => {
  for (const { path, method, operation } of operations.filter((each) => each.path.startsWith("/v1"))) {
    const statuses = Object.keys(operation.responses);
    expect(statuses, `${method} ${path}`).toEqual(expect.arrayContaining(["400", "401", "503"]));
    if (path.includes("{id}")) expect(statuses, `${method} ${path}`).toContain("404");
  }
});

test("/docs is one page of HTML without any script, and nothing in it is fetched from elsewhere", async () => {
  const response = await request("/docs");
  const page = await response.text();
  expect(response.headers.get("content-type")).toMatch(/^text\/html/);
  expect(response.headers.get("content-security-policy")).toContain("default-src 'none'");
  expect(page).toMatch(/^<!doctype html>/);
  expect(page).not.toMatch(/<script|<iframe|<img|<link|\son\w+=|javascript:|src=|@import|url\(/i);
  expect(
    [...page.matchAll(/href="([^"]*)"/g)].map(([, target]) => target).filter((to) => /^\w+:|^\/\//.test(to ?? "")),
  ).toEqual([]);
});

test("/docs explains every reason where a problem's type points", async () => {
  const page = await (await request("/docs")).text();
  for (const reason of Object.keys(REASONS) as ErrorReason[]) {
    const { type } = toProblem(new MayflyError(reason, ""));
    expect(type).toBe(`/docs#${reason}`);
    expect(page).toContain(`id="${reason}"`);
  }
});

test("/docs shows every call and every shape, and its links lead somewhere", async () => {
  const page = await (await request("/docs")).text();
  for (const { path, method } of operations) expect(page).toContain(`${method.toUpperCase()} ${path}`);
  const anchors = new Set([...page.matchAll(/id="([^"]*)"/g)].map(([, anchor]) => anchor));
  for (const name of Object.keys(document.components.schemas)) expect(anchors).toContain(name);
  for (const [, anchor] of page.matchAll(/href="#([^"]*)"/g)) expect(anchors).toContain(anchor);
  expect(page).not.toMatch(/\[object Object\]|undefined|>null</);
});
