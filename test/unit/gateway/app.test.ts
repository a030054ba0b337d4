import { beforeEach, describe, expect, test } from "vitest";
import { newRunId } from "../../../core/ids.ts";
import { type AppUnderTest, MAX_BODY_BYTES, makeApp, OPERATOR_KEY, posted, problemOf } from "./app-under-test.ts";

/** An answer goes before its line in the log. */
const turn = () => new Promise(setImmediate);

let app: AppUnderTest;
beforeEach(() => {
  app = makeApp();
});

const image = "busybox";
const id = newRunId();
const problem = async (path: string, init?: RequestInit) => problemOf(await app.request(path, init));

describe("a body that cannot be taken is refused", () => {
  test("over the limit, as it says itself", async () => {
    const body = { image, env: { A: "a".repeat(MAX_BODY_BYTES) } };
    expect(await problem("/v1/runs", posted(body))).toMatchObject({ status: 413, reason: "body_too_large" });
  });

  test("over the limit, in pieces without a length", async () => {
    const piece = new TextEncoder().encode(" ".repeat(1024));
    let sent = 0;
    const body = new ReadableStream({
      pull: (controller) => void (sent++ < 100 ? controller.enqueue(piece) : controller.close()),
    });
    const init = { method: "POST", body, duplex: "half", headers: { "content-type": "application/json" } };
    expect(await problem("/v1/runs", init as RequestInit)).toMatchObject({ status: 413, reason: "body_too_large" });
    expect(sent).toBeLessThan(20);
  });

  test.each([
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/json5",
  ])("as %s, which a page could send without asking", async (type) => {
    expect(await problem("/v1/runs", posted({ image }, { "content-type": type }))).toMatchObject({
      status: 415,
      reason: "unsupported_media_type",
    });
  });

  test("without a type", async () => {
    const init = { method: "POST", body: new TextEncoder().encode(JSON.stringify({ image })) };
    expect(await problem("/v1/runs", init)).toMatchObject({ status: 415 });
  });

  test.each(["{", "", "{'image':'busybox'}", "\u0000"])("that is no JSON: %j", async (text) => {
    expect(await problem("/v1/runs", posted(text))).toMatchObject({ status: 400, reason: "malformed_body" });
  });

  test.each(["null", "[]", '"busybox"', "1"])("that is JSON but no request: %s", async (text) => {
    const { status, errors } = await problem("/v1/runs", posted(text));
    expect({ status, fields: errors?.map(({ field }) => field) }).toEqual({ status: 400, fields: ["body"] });
  });

  test("with fields that are unknown or wrong: each is named, and the detail says all", async () => {
    const body = { image: "", cmd: [], limits: { memory: "1", mem: "1GiB" }, env: { "1": "" } };
    const { status, reason, errors, detail } = await problem("/v1/runs", posted(body));
    expect({ status, reason }).toEqual({ status: 400, reason: "invalid_field" });
    const fields = errors?.map(({ field }) => field) ?? [];
    expect(fields.toSorted()).toEqual(["cmd", "env.1", "image", "limits.mem", "limits.memory"]);
    for (const field of fields) expect(detail).toContain(field);
    expect(errors).toContainEqual({ field: "limits.mem", message: "is not a field" });
  });
});

test("a body with many faults is answered with the first twenty", async () => {
  const names = Array.from({ length: 50 }, (_, i) => [`a${i}`, 1]);
  const { errors } = await problem("/v1/runs", posted({ image, ...Object.fromEntries(names) }));
  expect(errors).toHaveLength(20);
});

describe("what is asked for wrongly is refused by name", () => {
  test.each([
    ["a run's id that is none", "GET", "/v1/runs/run_1", "id"],
    ["an id that is a path", "GET", "/v1/runs/..%2F..%2Fetc", "id"],
    ["a state there is not", "GET", "/v1/runs?state=paused", "state"],
    ["a page of none", "GET", "/v1/runs?limit=0", "limit"],
    ["a page too large", "GET", "/v1/runs?limit=501", "limit"],
    ["a page of no number", "GET", "/v1/runs?limit=all", "limit"],
    ["a cursor that is none", "GET", "/v1/runs?cursor=0", "cursor"],
    ["an unknown parameter", "GET", "/v1/runs?stat=queued", "stat"],
    ["a stream there is not", "GET", `/v1/runs/${id}/output/stdlog`, "stream"],
    ["a close that is neither", "POST", `/v1/runs/${id}/stdin?close=1`, "close"],
  ])("%s", async (_, method, path, field) => {
    const { status, errors } = await problem(path, { method });
    expect({ status, fields: errors?.map((error) => error.field) }).toEqual({ status: 400, fields: [field] });
  });

  test("a wait that is none", async () => {
    const { status, errors } = await problem("/v1/runs", posted({ image }, { prefer: "wait=soon" }));
    expect({ status, fields: errors?.map((error) => error.field) }).toEqual({ status: 400, fields: ["Prefer"] });
  });

  test.each([
    ["GET", "/v1/nothing"],
    ["PATCH", `/v1/runs/${id}`],
    ["PUT", "/v1/runs"],
    ["GET", `/v1/runs/${id}/cancel`],
  ])("%s %s does not exist", async (method, path) => {
    expect(await problem(path, { method })).toMatchObject({ status: 404, reason: "route_not_found" });
  });
});

describe("without Redis", () => {
  test.each([
    ["POST", "/v1/runs"],
    ["GET", "/v1/runs"],
    ["GET", `/v1/runs/${id}`],
    ["POST", `/v1/runs/${id}/cancel`],
    ["POST", `/v1/runs/${id}/stdin`],
    ["GET", `/v1/runs/${id}/events`],
    ["GET", `/v1/runs/${id}/output/stdout`],
  ])("%s %s is 503, and says when to come back", async (method, path) => {
    const response = await app.request(path, path === "/v1/runs" && method === "POST" ? posted({ image }) : { method });
    expect(response.headers.get("retry-after")).toBe("1");
    expect(await problemOf(response)).toMatchObject({ status: 503, reason: "queue_unavailable" });
  });

  test("the gateway is alive, but not ready, and says why", async () => {
    expect((await app.request("/healthz")).status).toBe(200);
    const response = await app.request("/readyz");
    expect(response.status).toBe(503);
    expect(await response.json()).toEqual({
      ready: false,
      hosts: 0,
      reasons: [{ check: "redis", message: expect.stringContaining("Redis") }],
    });
  });
});

describe("a fault of the gateway's own", () => {
  test("is 500, its message is in the log and not in the answer, and one id joins the two", async () => {
    app.hosts.living = () => Promise.reject(new Error("the secret of the house"));
    const response = await app.request("/v1/hosts", { headers: { authorization: `Bearer ${OPERATOR_KEY}` } });
    const requestId = response.headers.get("x-request-id");
    const text = await response.text();
    expect(response.status).toBe(500);
    expect(text).not.toContain("secret");
    expect(text).not.toContain("stack");
    expect(requestId).toBeTruthy();
    const line = app.log.find(({ event }) => event === "request.failed");
    expect(line).toMatchObject({ level: "error", id: requestId, error: { message: "the secret of the house" } });
  });
});

test.each(["", "x".repeat(256)])("an Idempotency-Key of a length that is not allowed is refused: %j", async (key) => {
  const request = posted({ image });
  const headers = { ...(request.headers as Record<string, string>), "idempotency-key": key };
  const response = await app.request("/v1/runs", { ...request, headers });
  expect(await response.json()).toMatchObject({ status: 400, errors: [{ field: "idempotency-key" }] });
});

describe("a body of six hundred names", () => {
  const names = Object.fromEntries(Array.from({ length: 600 }, (_, i) => [`${i}`, ""]));

  test.each([
    ["env", { image, env: names }],
    ["labels", { image, labels: names }],
    ["request", { image, ...names }],
  ])("is refused by its width alone: %s", async (field, body) => {
    const response = await app.request("/v1/runs", posted(body));
    expect(response.status).toBe(400);
    const { errors } = (await response.json()) as { errors: { field: string; message: string }[] };
    expect(errors).toEqual([{ field, message: expect.stringContaining("names") }]);
  });
});

describe("every answer", () => {
  test.each(["/healthz", "/v1/runs", "/v1/nothing"])("of %s carries its id and the time it took", async (path) => {
    const response = await app.request(path);
    expect(response.headers.get("x-request-id")).toBeTruthy();
    expect(response.headers.get("server-timing")).toMatch(/total;dur=[\d.]+$/);
  });

  test("is one line in the log, without the key and without the body", async () => {
    await app.request("/v1/runs", posted({ image, env: { PASSWORD: "hunter2" } }));
    await turn();
    const lines = app.log.filter(({ event }) => event === "request");
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ method: "POST", path: "/v1/runs", status: 503, tenant: "acme" });
    expect(JSON.stringify(app.log)).not.toMatch(/hunter2|a-key-of-acme/);
  });

  test("to a probe that is well is not logged; to one that is not, it is", async () => {
    await app.request("/healthz");
    await app.request("/readyz");
    await turn();
    expect(app.log.map(({ path }) => path)).toEqual(["/readyz"]);
  });

  test("a request's own id is kept, unless it would break a header or a log", async () => {
    const ask = async (requestId: string) =>
      (await app.request("/healthz", { headers: { "x-request-id": requestId } })).headers.get("x-request-id");
    expect(await ask("trace-17")).toBe("trace-17");
    expect(await ask("a b<script>")).not.toBe("a b<script>");
    expect(await ask("a".repeat(256))).not.toBe("a".repeat(256));
  });
});
