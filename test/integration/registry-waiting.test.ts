// Registries that say "too many requests": they are left alone for as long as they say, by everybody.

import { afterEach, beforeEach, expect, test } from "vitest";
import { createRegistryClient, type RegistryClient } from "../../runtime/registry/client.ts";
import { type FakeRegistry, type Intercept, refuse, startFakeRegistry } from "../helpers/fake-registry.ts";
import { buildImage } from "../helpers/image-builder.ts";
import { NEVER } from "../helpers/image-store.ts";

const IMAGE = buildImage({ layers: [] });

let registry: FakeRegistry;
let intercept: Intercept;
let told: [string, unknown][];
let onWarning: () => void;
let client: RegistryClient;
beforeEach(async () => {
  intercept = () => false;
  registry = await startFakeRegistry({ intercept: (request, response) => intercept(request, response) });
  registry.add("demo/a:1", IMAGE);
  told = [];
  onWarning = () => {};
  client = clientThatWaits(10_000);
});
afterEach(() => registry.stop());

function clientThatWaits(maxWaitMs: number): RegistryClient {
  const warn = (event: string, fields: unknown) => {
    told.push([event, fields]);
    onWarning();
  };
  const log = { info() {}, error() {}, warn };
  return createRegistryClient({ limits: { maxWaitMs, retryDelaysMs: [1, 1] }, log });
}

const ask = () => client.manifest({ host: registry.host, path: "demo/a" }, "1", NEVER);

/**
 * Refuses this many requests, and notes when each request came. A wait begins later than that, so that a slow machine can only make
 * it look longer than it was: that it is long enough may be asserted.
 */
function refusing(times: number, headers: Record<string, string>, status = 429): number[] {
  const moments: number[] = [];
  intercept = (_request, response) => {
    moments.push(performance.now());
    if (moments.length > times) return false;
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    refuse(response, status, "TOOMANYREQUESTS");
    return true;
  };
  return moments;
}

test.each([
  ["seconds", { "retry-after": "1" }],
  ["a moment", { "retry-after": "Wed, 21 Oct 2026 07:28:01 GMT", date: "Wed, 21 Oct 2026 07:28:00 GMT" }],
])("a registry that asks to wait for %s is asked again after that, and not before", async (_what, headers) => {
  const moments = refusing(1, headers);
  expect(await ask()).toEqual(IMAGE.manifest.bytes);
  expect(moments).toHaveLength(2);
  expect((moments[1] ?? 0) - (moments[0] ?? 0)).toBeGreaterThan(900);
});

test("a 503 that says when to come back is honoured as well", async () => {
  const moments = refusing(1, { "retry-after": "1" }, 503);
  await ask();
  expect((moments[1] ?? 0) - (moments[0] ?? 0)).toBeGreaterThan(900);
});

test("a registry that asks to wait for too long is unavailable, with the time that it said, and nobody asks it meanwhile", async () => {
  refusing(Number.POSITIVE_INFINITY, { "retry-after": "3600" });
  const expected = { reason: "registry_unavailable", details: { host: registry.host, retryAfterS: 600 } };
  await expect(ask()).rejects.toMatchObject(expected);
  await expect(ask()).rejects.toMatchObject(expected);
  await expect(client.resolve({ host: registry.host, path: "demo/b" }, "1", NEVER)).rejects.toMatchObject(expected);
  expect(registry.requests).toHaveLength(1);
});

test("while a registry wants to be left alone, the requests of others wait too", async () => {
  const moments = refusing(1, { "retry-after": "1", "ratelimit-remaining": "0" });
  const isHeard = new Promise<void>((resolve) => {
    onWarning = resolve;
  });
  const first = ask();
  await isHeard; // What the answer says of a quota is logged once its gate is closed: before that, others might slip through.
  await Promise.all([first, ask(), ask(), ask()]);
  const after = moments.slice(1).map((moment) => moment - (moments[0] ?? 0));
  expect(after).toHaveLength(4);
  expect(Math.min(...after)).toBeGreaterThan(900);
});

test("a registry that asks to wait each time is given up after the third time", async () => {
  refusing(Number.POSITIVE_INFINITY, { "retry-after": "0" });
  await expect(ask()).rejects.toMatchObject({
    reason: "registry_unavailable",
    details: { status: 429, retryAfterS: 0 },
  });
  expect(registry.requests).toHaveLength(3);
});

test("a registry that says no time is not asked again for the same request", async () => {
  refusing(Number.POSITIVE_INFINITY, {});
  await expect(ask()).rejects.toMatchObject({ reason: "registry_unavailable", details: { status: 429 } });
  expect(registry.requests).toHaveLength(1);
});

test("a quota that runs low is told once, with what the registry says of it", async () => {
  let remaining = 11;
  intercept = (_request, response) => {
    response.setHeader("ratelimit-limit", "100;w=21600");
    response.setHeader("ratelimit-remaining", `${remaining--};w=21600`);
    return false;
  };
  for (let times = 0; times < 5; times++) await ask();
  expect(told).toEqual([["registry.quota_low", { host: registry.host, remaining: 9, limit: 100, windowS: 21_600 }]]);
});

test("a tag is resolved without its manifest, by HEAD", async () => {
  const repository = { host: registry.host, path: "demo/a" };
  expect(await client.resolve(repository, "1", NEVER)).toBe(IMAGE.manifest.digest);
  expect(registry.requests.map(({ method }) => method)).toEqual(["HEAD"]);
});

test.each([
  ["has no such tag", 404, {}],
  ["knows no HEAD", 405, {}],
  ["tells no digest", 200, {}],
  ["tells nonsense", 200, { "docker-content-digest": "md5:x" }],
])(
  "a registry that %s resolves nothing by HEAD, and its manifest must be asked for",
  async (_what, status, headers) => {
    intercept = (_request, response) => {
      response.writeHead(status, headers).end();
      return true;
    };
    expect(await client.resolve({ host: registry.host, path: "demo/a" }, "1", NEVER)).toBeUndefined();
  },
);
