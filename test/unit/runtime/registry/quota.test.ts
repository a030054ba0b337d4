import { expect, test } from "vitest";
import { isLow, QuotaWatch, quotaOf } from "../../../../runtime/registry/quota.ts";

const headerOf = (headers: Record<string, string>) => (name: string) => headers[name];

test.each([
  [{ "ratelimit-limit": "100;w=21600", "ratelimit-remaining": "76;w=21600" }, [76, 100, 21_600], false],
  [{ "ratelimit-limit": "100;w=21600", "ratelimit-remaining": "9;w=21600" }, [9, 100, 21_600], true],
  [{ "ratelimit-limit": "60", "ratelimit-remaining": "4", "ratelimit-reset": "37" }, [4, 60, 37], true],
  [{ "ratelimit-limit": "60, 60;window=60;w=7", "ratelimit-remaining": "40" }, [40, 60, 7], false],
  [{ "ratelimit-remaining": "0" }, [0, undefined, undefined], true],
  [{ "ratelimit-remaining": "10" }, [10, undefined, undefined], false],
])("%j says %j, which is low: %s", (headers, [remaining, limit, windowS], low) => {
  const quota = quotaOf(headerOf(headers as Record<string, string>));
  expect(quota).toEqual({ remaining, limit, windowS });
  expect(quota && isLow(quota)).toBe(low);
});

test.each([
  [{}],
  [{ "ratelimit-limit": "100" }],
  [{ "ratelimit-remaining": "many" }],
  [{ "ratelimit-remaining": "-1" }],
])("%j says nothing of a quota", (headers) => {
  expect(quotaOf(headerOf(headers as Record<string, string>))).toBeUndefined();
});

test("a low quota is told once a window and host, and an ample one not at all", () => {
  const told: unknown[] = [];
  const watch = new QuotaWatch({
    info() {},
    error() {},
    warn: (event, fields) => void told.push([event, fields?.host]),
  });
  const low = headerOf({ "ratelimit-limit": "100;w=21600", "ratelimit-remaining": "3;w=21600" });
  watch.hear("c.example", headerOf({ "ratelimit-limit": "100", "ratelimit-remaining": "99" }));
  for (const host of ["a.example", "a.example", "b.example", "a.example"]) watch.hear(host, low);
  expect(told).toEqual([
    ["registry.quota_low", "a.example"],
    ["registry.quota_low", "b.example"],
  ]);
});
