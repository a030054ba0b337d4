import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MayflyError } from "../../../core/errors.ts";
import type { Grant } from "../../../gateway/dispatch/rate-limits.ts";
import { describeGrant } from "../../../gateway/middleware/limit-rate.ts";
import { KEY, makeApp, posted, problemOf } from "./app-under-test.ts";

const LEFT: Grant = { granted: true, rate: 5, burst: 20, tokens: 7.5 };
const NONE: Grant = { granted: false, rate: 0.1, burst: 3, tokens: 0.4 };

describe("the fields of a grant", () => {
  test("say how many requests are in the policy, how many are left, and when they all are again", () => {
    expect(describeGrant(LEFT)).toEqual({
      policy: '"requests";q=20;w=4',
      limit: '"requests";r=7;t=3',
      retryAfterSeconds: 1,
    });
  });

  test("say when the next request may come if none is left", () => {
    expect(describeGrant(NONE)).toEqual({
      policy: '"requests";q=3;w=30',
      limit: '"requests";r=0;t=6',
      retryAfterSeconds: 6,
    });
  });

  test("are whole numbers, never promise more than there is, and never call back too early", () => {
    const rate = fc.double({ min: 0.001, max: 1_000_000, noNaN: true });
    const burst = fc.integer({ min: 1, max: 1_000_000 });
    const part = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(rate, burst, part, (rate, burst, part) => {
        const tokens = burst * part;
        const { policy, limit, retryAfterSeconds } = describeGrant({ granted: false, rate, burst, tokens });
        const [, q, w] = /^"requests";q=(\d+);w=(\d+)$/.exec(policy) ?? [];
        const [, r, t] = /^"requests";r=(\d+);t=(\d+)$/.exec(limit) ?? [];
        expect(Number(q) / Number(w)).toBeLessThanOrEqual(rate);
        expect(Number(r)).toBeLessThanOrEqual(tokens);
        expect(Number(t)).toBeGreaterThanOrEqual(0);
        expect(tokens + retryAfterSeconds * rate).toBeGreaterThanOrEqual(1 - 1e-9);
      }),
    );
  });
});

describe("a tenant's rate", () => {
  const limited = (grant: Grant | undefined) => makeApp({ take: async () => grant });

  test.each([
    ["that fails for want of Redis", "/v1/runs", {}, 503],
    ["of what is wrong", "/v1/runs", posted({}), 400],
    ["of a route there is not", "/v1/nothing", {}, 404],
    ["of what the key may not", "/v1/keys", {}, 403],
  ])("is told on an answer %s", async (_, path, init, status) => {
    const response = await limited(LEFT).request(path, init);
    expect(response.status).toBe(status);
    expect(response.headers.get("ratelimit-policy")).toBe('"requests";q=20;w=4');
    expect(response.headers.get("ratelimit")).toBe('"requests";r=7;t=3');
  });

  test("is told by 429 when it is used up, with the time to come back", async () => {
    const response = await limited(NONE).request("/v1/runs");
    expect(response.headers.get("retry-after")).toBe("6");
    expect(response.headers.get("ratelimit")).toBe('"requests";r=0;t=6');
    expect(await problemOf(response)).toMatchObject({ status: 429, reason: "rate_limited" });
  });

  test("is not told where there is none, nor to one without a key", async () => {
    expect((await limited(undefined).request("/v1/runs")).headers.has("ratelimit")).toBe(false);
    const stranger = await limited(NONE).app.request("/v1/runs");
    expect([stranger.status, stranger.headers.has("ratelimit")]).toEqual([401, false]);
  });

  test("does not bound what is public, which is answered also if the rate cannot be known", async () => {
    const away = makeApp({ keys: false, take: () => Promise.reject(new MayflyError("queue_unavailable", "away")) });
    expect((await away.request("/healthz")).status).toBe(200);
    expect(await problemOf(await away.request("/v1/nothing"))).toMatchObject({ status: 503 });
  });
});

test("a key that stands where its id belongs is not in the log", async () => {
  const { request, log } = makeApp();
  const key = `mayfly_0123456789ab_${"s".repeat(39)}`;
  await request(`/v1/keys/${key}`, { method: "DELETE" });
  await request(`/v1/keys/${key}/rotate`, posted({}));
  await request(`/v1/nothing/${key}`, { headers: { authorization: `Bearer ${KEY}x` } });
  await new Promise(setImmediate);
  expect(log.filter(({ event }) => event === "request")).toHaveLength(3);
  expect(JSON.stringify(log)).not.toContain("ssss");
  expect(JSON.stringify(log)).toContain("0123456789ab");
});
