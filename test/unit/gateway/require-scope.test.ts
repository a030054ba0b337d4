import { describe, expect, test } from "vitest";
import { SCOPES, type Scope } from "../../../core/api-key.ts";
import { newRunId } from "../../../core/ids.ts";
import { PUBLIC_ROUTES, ROUTE_SCOPES } from "../../../gateway/route-scopes.ts";
import { HOST, KEY, makeApp, OPERATOR_KEY, problemOf } from "./app-under-test.ts";

/** A caller of each scope: the key is the scope's name. */
const keyed = makeApp({
  findCaller: (key) =>
    SCOPES.includes(key as Scope) ? { tenant: "acme", scopes: new Set([key as Scope]) } : undefined,
});

/** Every route there is; middleware is registered for all methods, and is none. */
const ROUTES = [...new Set(keyed.app.routes.map(({ method, path }) => `${method} ${path}`))].filter(
  (route) => !route.startsWith("ALL "),
);
const isPublic = (route: string) => PUBLIC_ROUTES.has(route.replace("GET ", ""));
const CALLS = Object.entries(ROUTE_SCOPES).map(([route, scope]) => ({ route, scope }));

const ask = (route: string, key: string, app = keyed.app) => {
  const [method = "", pattern = ""] = route.split(" ");
  const path = pattern
    .replace(/^(\/v1\/keys\/):id/, "$1key_0123456789ab")
    .replace(":id", newRunId())
    .replace(":stream", "stdout")
    .replace(":name", "acme");
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json", host: HOST };
  const hasBody = ["POST", "PATCH", "PUT"].includes(method);
  return app.request(path, { method, headers, ...(hasBody ? { body: "{}" } : {}) });
};

test("every route is in the table of scopes or on the public list, and both have only routes that there are", () => {
  expect([...Object.keys(ROUTE_SCOPES), ...[...PUBLIC_ROUTES].map((path) => `GET ${path}`)].toSorted()).toEqual(
    ROUTES.toSorted(),
  );
  expect(ROUTES.filter((route) => !isPublic(route)).length).toBeGreaterThan(20);
});

describe.each(CALLS)("$route", ({ route, scope }) => {
  test(`is let through with ${scope}, and refused with each other scope, ${scope} being named`, async () => {
    for (const other of SCOPES) {
      const response = await ask(route, other);
      if (other === scope) expect(response.status).not.toBe(403);
      else {
        const { status, reason, detail } = await problemOf(response);
        expect({ status, reason }).toEqual({ status: 403, reason: "scope_missing" });
        expect(detail).toContain(`the scope ${scope}`);
      }
    }
  });
});

test("a route that is not in the table may be called by nobody, an operator neither", async () => {
  const { app } = makeApp();
  app.get("/v1/forgotten", (c) => c.text("open"));
  const response = await ask("GET /v1/forgotten", OPERATOR_KEY, app);
  expect(await problemOf(response)).toMatchObject({ status: 403, reason: "scope_missing" });
});

test.each([
  ["HEAD /v1/hosts", 403],
  ["HEAD /v1/keys", 403],
  ["GET /v1/%68osts", 403],
  ["GET /v1/hosts?x=/v1/runs", 403],
  ["GET /v1/hosts/", 404],
  ["GET //v1/hosts", 404],
  ["DELETE /v1/images%2Finspect", 404],
  ["POST /v1/images/pull/x", 404],
  ["PUT /v1/images", 404],
  ["DELETE /v1/images/inspect", 404],
])("%s, with the scope of another call, is %d: what counts is what would answer", async (call, status) => {
  expect((await ask(call, "read")).status).toBe(status);
});

test("a key of the file lacks admin, and an operator's has all", async () => {
  const { app } = makeApp();
  for (const { route, scope } of CALLS) {
    expect((await ask(route, KEY, app)).status === 403, route).toBe(scope === "admin");
    expect((await ask(route, OPERATOR_KEY, app)).status, route).not.toBe(403);
  }
});

test("without keys, everybody on loopback may do everything", async () => {
  const { app } = makeApp({ keys: false });
  for (const { route } of CALLS) expect((await ask(route, "none", app)).status, route).not.toBe(403);
});

test("each call says in the OpenAPI document which scope it wants", async () => {
  const { paths } = (await (await keyed.app.request("/openapi.json")).json()) as {
    paths: Record<string, Record<string, { security?: unknown; responses: Record<string, unknown> }>>;
  };
  for (const [route, scope] of Object.entries(ROUTE_SCOPES)) {
    const [method = "", path = ""] = route.replace(/:(\w+)(\{.+?\})?/g, "{$1}").split(" ");
    const operation = paths[path]?.[method.toLowerCase()];
    expect(operation?.security, route).toEqual([{ key: [scope] }]);
    expect(operation?.responses, route).toHaveProperty("429");
  }
});
