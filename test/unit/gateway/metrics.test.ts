import { describe, expect, test } from "vitest";
import { parsePrometheus } from "../../helpers/prometheus-text.ts";
import { HOST, makeApp, OPERATOR_KEY, problemOf } from "./app-under-test.ts";

const asked = async (response: Response) => parsePrometheus(await response.text());

describe("GET /metrics", () => {
  test("without keys is anybody's on loopback, but no page's and no other name's", async () => {
    const { request } = makeApp({ keys: false });
    const response = await request("/metrics");
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    await asked(response);
    expect((await request("/metrics", { headers: { origin: "https://example.com" } })).status).toBe(403);
    expect((await request("/metrics", { headers: { host: "example.com" } })).status).toBe(403);
  });

  test("with keys is an operator's alone, also from loopback", async () => {
    const { app, request } = makeApp();
    expect((await app.request("/metrics", { headers: { host: HOST } })).status).toBe(401);
    expect(await problemOf(await request("/metrics"))).toMatchObject({ status: 403, reason: "scope_missing" });
    const response = await request("/metrics", { headers: { authorization: `Bearer ${OPERATOR_KEY}` } });
    expect(response.status).toBe(200);
  });

  test("counts requests by their route, and what has none as none: no path that was made up becomes a label", async () => {
    const { request } = makeApp({ keys: false });
    const paths = ["/v1/runs/run_01m80jh97hpzpm42jregt5cpgs", "/v1/runs/x", "/made/up", "/v1/up/made", "/healthz"];
    for (const path of paths) await request(path);
    await request("/v1/runs/x", { method: "MADEUP" });
    await new Promise(setImmediate); // An answer goes out before it is counted.
    const requests = (await asked(await request("/metrics"))).get("mayfly_http_requests_total");
    expect(Object.fromEntries(requests?.samples ?? [])).toEqual({
      'mayfly_http_requests_total{method="GET",route="/v1/runs/:id",status="503"}': 1,
      'mayfly_http_requests_total{method="GET",route="/v1/runs/:id",status="400"}': 1,
      'mayfly_http_requests_total{method="none",route="none",status="404"}': 3,
      'mayfly_http_requests_total{method="GET",route="/healthz",status="200"}': 1,
    });
  });
});
