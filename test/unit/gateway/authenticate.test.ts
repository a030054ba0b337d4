import { describe, expect, test } from "vitest";
import { newRunId } from "../../../core/ids.ts";
import { PUBLIC_ROUTES } from "../../../gateway/route-scopes.ts";
import { HOST, KEY, makeApp, problemOf } from "./app-under-test.ts";

const keyed = makeApp();
const open = makeApp({ keys: false });

/** Every route that there is, as a path that can be asked for. Middleware is registered for all methods, and is none. */
const ROUTES = [...new Set(keyed.app.routes.map(({ method, path }) => `${method} ${path}`))]
  .filter((route) => !route.startsWith("ALL "))
  .map((route) => route.replace(":id", newRunId()).replace(":stream", "stdout").split(" "))
  .map(([method = "", path = ""]) => ({ method, path }));
const PRIVATE = ROUTES.filter(({ path }) => !PUBLIC_ROUTES.has(path));

const ask = ({ method, path }: { method: string; path: string }, headers: Record<string, string> = {}) =>
  keyed.app.request(path, { method, headers });

describe("with keys", () => {
  test("the routes that are public are these, and each exists", () => {
    expect([...PUBLIC_ROUTES].toSorted()).toEqual(["/docs", "/healthz", "/openapi.json", "/readyz"]);
    const paths = ROUTES.map(({ path }) => path);
    for (const path of PUBLIC_ROUTES) expect(paths).toContain(path);
    expect(PRIVATE.length).toBeGreaterThan(5);
  });

  test.each(PRIVATE)("$method $path is refused without a key", async (route) => {
    const response = await ask(route);
    expect(response.headers.get("www-authenticate")).toContain("Bearer");
    expect(await problemOf(response)).toMatchObject({ status: 401, reason: "key_missing" });
  });

  test.each(PRIVATE)("$method $path is refused with a key that nobody has", async (route) => {
    expect(await problemOf(await ask(route, { authorization: "Bearer guess" }))).toMatchObject({
      status: 401,
      reason: "key_unknown",
    });
  });

  test.each(PRIVATE)("$method $path is let through with a key", async (route) => {
    expect((await ask(route, { authorization: `Bearer ${KEY}` })).status).not.toBe(401);
  });

  test.each(ROUTES.filter(({ path }) => PUBLIC_ROUTES.has(path)))("$method $path needs no key", async (route) => {
    expect((await ask(route)).status).not.toBe(401);
  });

  test.each([
    "/",
    "/v2/runs",
    "/v1",
    "/metrics",
    "/healthz/",
    "//healthz",
    "/healthz/../v1/runs",
    "/%68ealthz2",
    "/docs/x",
  ])("%s tells nothing without a key, not even whether it exists", async (path) => {
    expect((await ask({ method: "GET", path })).status).toBe(401);
  });

  test.each([
    ["a scheme other than Bearer", `Basic ${KEY}`, "key_missing"],
    ["no scheme", KEY, "key_missing"],
    ["an empty key", "Bearer ", "key_missing"],
    ["the hash of a key", `Bearer ${"0".repeat(64)}`, "key_unknown"],
    ["a part of a key", "Bearer a", "key_unknown"],
  ])("%s is refused", async (_, authorization, reason) => {
    expect(await problemOf(await ask({ method: "GET", path: "/v1/runs" }, { authorization }))).toMatchObject({
      reason,
    });
  });

  test("a key is refused in the query", async () => {
    expect((await ask({ method: "GET", path: `/v1/runs?key=${encodeURIComponent(KEY)}` })).status).toBe(401);
  });
});

describe("without keys, on loopback", () => {
  const from = (headers: Record<string, string>) => open.app.request("/v1/runs", { headers });

  test.each([
    "",
    "example.com",
    "mayfly.internal:8080",
    "127.0.0.1.example.com",
    "localhost.example.com:8080",
    "10.0.0.1:8080",
    "0.0.0.0:8080",
    "[::]:8080",
    "127.0.0.1:8080@example.com",
    "localhost:8080, example.com",
  ])("a name that was made to resolve to loopback is refused: Host %j", async (host) => {
    expect(await problemOf(await from({ host }))).toMatchObject({ status: 403, reason: "origin_refused" });
  });

  test("a request without Host is refused", async () => {
    expect((await from({})).status).toBe(403);
  });

  test.each([
    "http://example.com",
    "https://127.0.0.1:8080",
    "http://127.0.0.1:9999",
    "http://127.0.0.1:8080.example.com",
    "http://localhost:8080",
    "null",
    "",
  ])("a page of another origin is refused: Origin %j", async (origin) => {
    expect(await problemOf(await from({ host: HOST, origin }))).toMatchObject({
      status: 403,
      reason: "origin_refused",
    });
  });

  test.each(ROUTES)("$method $path is refused to a page of another origin", async ({ method, path }) => {
    expect(
      (await open.app.request(path, { method, headers: { host: HOST, origin: "http://example.com" } })).status,
    ).toBe(403);
  });

  test.each(["127.0.0.1:8080", "127.0.0.1", "127.8.9.1:80", "localhost:8080", "localhost", "[::1]:8080"])(
    "Host %s is this machine",
    async (host) => {
      expect((await from({ host })).status).not.toBe(403);
    },
  );

  test("a page of the gateway's own is let through", async () => {
    expect((await from({ host: HOST, origin: `http://${HOST}` })).status).not.toBe(403);
  });
});
