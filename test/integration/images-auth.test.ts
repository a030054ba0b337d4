import { afterEach, expect, test } from "vitest";
import { parseCredentials } from "../../runtime/registry/auth-file.ts";
import { createCredentials } from "../../runtime/registry/credentials.ts";
import { type FakeRegistry, type FakeRegistryOptions, startFakeRegistry } from "../helpers/fake-registry.ts";
import { buildImage, buildLayer, pushImage } from "../helpers/image-builder.ts";
import { makeStore, NEVER, type StoreUnderTest } from "../helpers/image-store.ts";
import { type Login, startRegistry } from "../helpers/registry.ts";

const LOGIN: Login = { user: "alice", password: "s3cret:with:colons" };
const IMAGE = buildImage({ layers: [buildLayer([{ path: "one" }]), buildLayer([{ path: "two" }])] });
const BASIC = `Basic ${Buffer.from(`${LOGIN.user}:${LOGIN.password}`).toString("base64")}`;

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function credentialsFor(host: string, { user, password }: Login) {
  const auth = Buffer.from(`${user}:${password}`).toString("base64");
  return createCredentials({ file: parseCredentials(JSON.stringify({ auths: { [host]: { auth } } })) });
}

async function fake(options: FakeRegistryOptions): Promise<FakeRegistry> {
  const registry = await startFakeRegistry(options);
  cleanups.push(() => registry.stop());
  return registry;
}

async function storeFor(host: string, login?: Login): Promise<StoreUnderTest> {
  const made = await makeStore(login ? { registries: { credentials: credentialsFor(host, login) } } : {});
  cleanups.push(() => made.remove());
  return made;
}

test("a registry with Basic authentication gives its images to who knows the password, and to nobody else", async () => {
  const registry = await startRegistry({ login: LOGIN });
  cleanups.push(() => registry.stop());
  const { reference } = await pushImage(registry, "demo/private:1", IMAGE);
  const { store } = await storeFor(registry.host, LOGIN);
  expect((await store.ensure(reference, NEVER)).layers).toHaveLength(2);
  const denied = { reason: "image_access_denied" };
  await expect((await storeFor(registry.host)).store.ensure(reference, NEVER)).rejects.toMatchObject(denied);
  const wrong = { ...LOGIN, password: "guess" };
  await expect((await storeFor(registry.host, wrong)).store.ensure(reference, NEVER)).rejects.toMatchObject(denied);
});

test("one anonymous token serves a whole pull", async () => {
  const registry = await fake({ tokens: "anonymous" });
  const { store } = await storeFor(registry.host);
  await store.ensure(registry.add("demo/a:1", IMAGE).reference, NEVER);
  expect(registry.count(/token/)).toBe(1);
  expect(registry.requests.filter(({ authorization }) => authorization === undefined)).toHaveLength(2);
});

test("the token service is asked with the challenge's service and scope, and with the credentials", async () => {
  const registry = await fake({ tokens: LOGIN });
  const { store } = await storeFor(registry.host, LOGIN);
  await store.ensure(registry.add("demo/a:1", IMAGE).reference, NEVER);
  const asked = registry.requests.find(({ path }) => path === "/token");
  expect(asked?.query.get("service")).toBe('fake, "quoted"');
  expect(asked?.query.get("scope")).toBe("repository:demo/a:pull");
  expect(asked?.authorization).toBe(BASIC);
});

test("credentials go to the token service only, never to the registry's own routes", async () => {
  const registry = await fake({ tokens: LOGIN });
  const { store } = await storeFor(registry.host, LOGIN);
  await store.ensure(registry.add("demo/a:1", IMAGE).reference, NEVER);
  const others = registry.requests.filter(({ path }) => path !== "/token");
  expect(others.map(({ authorization }) => authorization)).not.toContain(BASIC);
});

test("an expired token is replaced by a new one", async () => {
  const registry = await fake({ tokens: "anonymous", tokenSeconds: 1 }); // Within the margin: never used twice.
  const { store } = await storeFor(registry.host);
  await store.ensure(registry.add("demo/a:1", IMAGE).reference, NEVER);
  // One each for the tag's HEAD, the manifest and the config; the layers are asked for together, and may share one.
  expect(registry.count(/token/)).toBeGreaterThanOrEqual(4);
});

test("a token service that refuses the login denies the image", async () => {
  const registry = await fake({ tokens: LOGIN });
  const { reference } = registry.add("demo/a:1", IMAGE);
  const denied = { reason: "image_access_denied" };
  await expect((await storeFor(registry.host)).store.ensure(reference, NEVER)).rejects.toMatchObject(denied);
  const wrong = await storeFor(registry.host, { ...LOGIN, password: "guess" });
  await expect(wrong.store.ensure(reference, NEVER)).rejects.toMatchObject(denied);
});

test("a registry that refuses its own token denies the image, and is not asked for ever", async () => {
  const registry = await fake({
    intercept: ({ path }, response) => {
      if (path === "/token") return false;
      response.setHeader("www-authenticate", `Bearer realm="http://${registry.host}/token"`);
      response.writeHead(401).end();
      return true;
    },
  });
  const { reference } = registry.add("demo/a:1", IMAGE);
  await expect((await storeFor(registry.host)).store.ensure(reference, NEVER)).rejects.toMatchObject({
    reason: "image_access_denied",
  });
  expect(registry.requests).toHaveLength(3);
});

test.each([
  ["names no realm", 'Bearer service="x"'],
  ["offers only what nobody has", "Negotiate"],
  ["offers nothing", ""],
])("a challenge that %s denies the image", async (_what, header) => {
  const registry = await fake({
    intercept: (_request, response) => {
      if (header) response.setHeader("www-authenticate", header);
      response.writeHead(401).end();
      return true;
    },
  });
  const { store } = await storeFor(registry.host, LOGIN);
  await expect(store.ensure(registry.add("demo/a:1", IMAGE).reference, NEVER)).rejects.toMatchObject({
    reason: "image_access_denied",
  });
});

test("a realm over plain HTTP on another host never sees the credentials", async () => {
  const registry = await fake({
    intercept: (_request, response) => {
      response.setHeader("www-authenticate", 'Bearer realm="http://registry.invalid/token"');
      response.writeHead(401).end();
      return true;
    },
  });
  const { store } = await storeFor(registry.host, LOGIN);
  await expect(store.ensure(registry.add("demo/a:1", IMAGE).reference, NEVER)).rejects.toThrow(
    "plain HTTP is not allowed",
  );
});

test("a redirect to another origin carries no credentials, and one within the origin does", async () => {
  const storage = await fake({});
  storage.add("demo/a:1", IMAGE);
  const registry = await fake({
    tokens: "anonymous",
    intercept: ({ path, authorization }, response) => {
      if (!path.includes("/blobs/") || authorization === undefined) return false;
      const target = path.startsWith("/moved")
        ? `http://${storage.host}${path.replace("/moved", "")}`
        : `/moved${path}`;
      response.writeHead(307, { location: target }).end();
      return true;
    },
  });
  const { store } = await storeFor(registry.host);
  expect((await store.ensure(registry.add("demo/a:1", IMAGE).reference, NEVER)).layers).toHaveLength(2);
  expect(
    registry.requests
      .filter(({ path }) => path.startsWith("/moved"))
      .every((r) => r.authorization?.startsWith("Bearer")),
  ).toBe(true);
  expect(storage.requests).toHaveLength(IMAGE.blobs.length);
  expect(storage.requests.map(({ authorization }) => authorization)).toEqual(IMAGE.blobs.map(() => undefined));
});

test("a challenge from where a redirect led is not met with the registry's credentials", async () => {
  const thief = await fake({ tokens: LOGIN });
  const registry = await fake({
    intercept: ({ path }, response) => {
      response.writeHead(307, { location: `http://${thief.host}${path}` }).end();
      return true;
    },
  });
  const { store } = await storeFor(registry.host, LOGIN);
  await expect(store.ensure(registry.add("demo/a:1", IMAGE).reference, NEVER)).rejects.toMatchObject({
    reason: "image_access_denied",
  });
  expect(thief.requests.map(({ path, authorization }) => [path, authorization])).toEqual([
    ["/v2/demo/a/manifests/1", undefined],
  ]);
});
