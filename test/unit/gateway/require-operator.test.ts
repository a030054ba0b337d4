import { describe, expect, test } from "vitest";
import { TENANT_CALLS } from "../../../gateway/middleware/require-operator.ts";
import { HOST, KEY, makeApp, OPERATOR_KEY, problemOf } from "./app-under-test.ts";

const { app } = makeApp();

/** Every call there is below /v1/images and /v1/hosts. */
const CALLS = [...new Set(app.routes.map(({ method, path }) => `${method} ${path}`))].filter((call) =>
  /^(?!ALL )\w+ \/v1\/(images|hosts)/.test(call),
);
const OPERATORS = CALLS.filter((call) => !TENANT_CALLS.has(call));

const ask = (call: string, key: string) => {
  const [method = "", path = ""] = call.split(" ");
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  return app.request(path, { method, headers, ...(method === "POST" ? { body: "{}" } : {}) });
};

test("the calls are these, and a tenant may make two of them", () => {
  expect(CALLS.toSorted()).toEqual([
    "DELETE /v1/images",
    "GET /v1/hosts",
    "GET /v1/hosts/:id",
    "GET /v1/images",
    "GET /v1/images/inspect",
    "GET /v1/images/save",
    "GET /v1/images/usage",
    "POST /v1/hosts/:id/cordon",
    "POST /v1/hosts/:id/drain",
    "POST /v1/hosts/:id/uncordon",
    "POST /v1/images/load",
    "POST /v1/images/pin",
    "POST /v1/images/prune",
    "POST /v1/images/pull",
    "POST /v1/images/verify",
  ]);
  expect([...TENANT_CALLS]).toEqual(["GET /v1/images", "GET /v1/images/inspect"]);
});

describe("with a tenant's key", () => {
  test.each(OPERATORS)("%s is refused", async (call) => {
    expect(await problemOf(await ask(call, KEY))).toMatchObject({ status: 403, reason: "operator_only" });
  });

  test.each([...TENANT_CALLS])("%s is let through", async (call) => {
    expect((await ask(call, KEY)).status).not.toBe(403);
  });

  test.each([
    "PUT /v1/images",
    "POST /v1/images",
    "HEAD /v1/images",
    "DELETE /v1/images/inspect",
    "GET /v1/images/",
    "GET /v1/images/anything",
    "POST /v1/images/pull/x",
    "DELETE /v1/%69mages",
    "POST /v1/images%2Fpull",
    "DELETE /v1/hosts/a",
  ])("%s is refused too, though there is no such call", async (call) => {
    expect([403, 404]).toContain((await ask(call, KEY)).status);
    expect((await ask(call, KEY)).status).not.toBe(200);
  });
});

describe("with an operator's key", () => {
  test.each(CALLS)("%s is let through", async (call) => {
    expect((await ask(call, OPERATOR_KEY)).status).not.toBe(403);
  });
});

test("without keys, everybody on loopback is an operator", async () => {
  const open = makeApp({ keys: false });
  for (const call of CALLS) {
    const [method = "", path = ""] = call.split(" ");
    expect((await open.app.request(path, { method, headers: { host: HOST } })).status).not.toBe(403);
  }
});
