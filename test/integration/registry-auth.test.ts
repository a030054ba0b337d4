// The ways in which registries ask who we are, each in the shape of one that is in use.

import type { ServerResponse } from "node:http";
import { afterEach, describe, expect, test, vi } from "vitest";
import { parseCredentials } from "../../runtime/registry/auth-file.ts";
import { createRegistryClient, type RegistryClient } from "../../runtime/registry/client.ts";
import { type Credentials, createCredentials } from "../../runtime/registry/credentials.ts";
import { basicLogin } from "../../runtime/registry/login.ts";
import { type FakeRegistry, type FakeRequest, refuse, startFakeRegistry } from "../helpers/fake-registry.ts";
import { buildImage, buildLayer } from "../helpers/image-builder.ts";
import { NEVER } from "../helpers/image-store.ts";

const IMAGE = buildImage({ layers: [buildLayer([{ path: "one" }])] });
const LAYER = IMAGE.blobs[1];

const encode = (text: string) => Buffer.from(text).toString("base64");

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  vi.useRealTimers();
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Shape {
  readonly name: string;
  readonly repository: string;
  /** What the registry answers to who has not proved anything. */
  readonly challenge: (realm: string) => string;
  /** An entry of the file of credentials. */
  readonly login?: Record<string, string>;
  /** Where the token service lies on its host. */
  readonly realm?: string;
  /** What the service is asked, as method, query or form, and `Authorization`. */
  readonly asks?: readonly [method: string, parameters: Record<string, string>, authorization: string | undefined];
  readonly token?: Record<string, unknown>;
  /** What the registry then takes. */
  readonly proof: string;
}

const BASIC = `Basic ${encode("alice:secret")}`;
const LOGIN = { auth: encode("alice:secret") };

const SHAPES: readonly Shape[] = [
  {
    name: "Docker Hub, for nobody",
    repository: "library/alpine",
    realm: "/token",
    challenge: (realm) => `Bearer realm="${realm}",service="registry.docker.io",scope="repository:library/alpine:pull"`,
    asks: ["GET", { service: "registry.docker.io", scope: "repository:library/alpine:pull" }, undefined],
    token: { token: "hub", access_token: "hub", expires_in: 300, issued_at: "2026-01-01T00:00:00.123456789Z" },
    proof: "Bearer hub",
  },
  {
    name: "Docker Hub, for a user",
    repository: "alice/private",
    login: LOGIN,
    realm: "/token",
    challenge: (realm) =>
      `Bearer realm="${realm}",service="registry.docker.io",scope="repository:alice/private:pull",error="insufficient_scope"`,
    asks: ["GET", { service: "registry.docker.io", scope: "repository:alice/private:pull" }, BASIC],
    token: { token: "hub", access_token: "hub", expires_in: 300 },
    proof: "Bearer hub",
  },
  {
    name: "GHCR",
    repository: "alice/image",
    login: LOGIN,
    realm: "/token",
    challenge: (realm) => `Bearer realm="${realm}",service="ghcr.io",scope="repository:alice/image:pull"`,
    asks: ["GET", { service: "ghcr.io", scope: "repository:alice/image:pull" }, BASIC],
    token: { token: "YWxpY2U6c2VjcmV0" },
    proof: "Bearer YWxpY2U6c2VjcmV0",
  },
  {
    name: "GitLab",
    repository: "group/sub/project",
    login: { username: "gitlab-ci-token", password: "job" },
    realm: "/jwt/auth",
    challenge: (realm) =>
      `Bearer realm="${realm}",service="container_registry",scope="repository:group/sub/project:pull"`,
    asks: [
      "GET",
      { service: "container_registry", scope: "repository:group/sub/project:pull" },
      `Basic ${encode("gitlab-ci-token:job")}`,
    ],
    token: { token: "eyJ.eyJ.sig" },
    proof: "Bearer eyJ.eyJ.sig",
  },
  {
    name: "Amazon ECR",
    repository: "team/app",
    login: { username: "AWS", password: "an-ecr-token" },
    challenge: () => 'Basic realm="https://123.dkr.ecr.eu-west-1.amazonaws.com/",service="ecr.amazonaws.com"',
    proof: `Basic ${encode("AWS:an-ecr-token")}`,
  },
  {
    name: "Harbor",
    repository: "library/app",
    login: { auth: encode("robot$puller:secret") },
    realm: "/service/token",
    challenge: (realm) => `Bearer realm="${realm}",service="harbor-registry",scope="repository:library/app:pull"`,
    asks: [
      "GET",
      { service: "harbor-registry", scope: "repository:library/app:pull" },
      `Basic ${encode("robot$puller:secret")}`,
    ],
    token: { token: "harbor", access_token: "", expires_in: 1800, issued_at: "2026-01-01T00:00:00Z" },
    proof: "Bearer harbor",
  },
  {
    name: "Quay",
    repository: "org/app",
    login: { auth: encode("org+robot:secret") },
    realm: "/v2/auth",
    challenge: (realm) => `Bearer realm="${realm}",service="quay.io",scope="repository:org/app:pull"`,
    asks: ["GET", { service: "quay.io", scope: "repository:org/app:pull" }, `Basic ${encode("org+robot:secret")}`],
    token: { token: "quay" },
    proof: "Bearer quay",
  },
  {
    name: "Azure, with an identity token",
    repository: "app",
    login: { auth: encode("00000000-0000-0000-0000-000000000000:"), identitytoken: "refresh" },
    realm: "/oauth2/token",
    challenge: (realm) => `Bearer realm="${realm}",service="x.azurecr.io",scope="repository:app:pull"`,
    asks: [
      "POST",
      {
        grant_type: "refresh_token",
        service: "x.azurecr.io",
        scope: "repository:app:pull",
        client_id: "mayfly",
        refresh_token: "refresh",
      },
      undefined,
    ],
    token: { access_token: "azure" },
    proof: "Bearer azure",
  },
  {
    name: "one that names no scope, and offers Basic too",
    repository: "a/b",
    login: LOGIN,
    realm: "/token?from=challenge",
    challenge: (realm) => `Basic realm="x", Bearer realm="${realm}"`,
    asks: ["GET", { from: "challenge", scope: "repository:a/b:pull" }, BASIC],
    token: { access_token: "other", expires_in: "600" },
    proof: "Bearer other",
  },
  {
    name: "one whose bearer token the operator has",
    repository: "a/b",
    login: { registrytoken: "given" },
    realm: "/token",
    challenge: (realm) => `Bearer realm="${realm}",service="x",scope="repository:a/b:pull"`,
    proof: "Bearer given",
  },
];

async function start(intercept: (request: FakeRequest, response: ServerResponse) => boolean): Promise<FakeRegistry> {
  const registry = await startFakeRegistry({ intercept });
  cleanups.push(() => registry.stop());
  return registry;
}

function clientOf(host: string, login: Record<string, string> | undefined): RegistryClient {
  const file = login ? parseCredentials(JSON.stringify({ auths: { [host]: login } })) : undefined;
  return createRegistryClient({ credentials: createCredentials({ file }) });
}

const parametersOf = async (request: FakeRequest) =>
  Object.fromEntries(request.method === "POST" ? new URLSearchParams(await request.body()) : request.query);

describe.each(SHAPES)("$name", (shape) => {
  async function stage() {
    const asked: unknown[] = [];
    const service = await start((request, response) => {
      void parametersOf(request).then((parameters) => {
        asked.push([request.method, request.path, parameters, request.authorization]);
        response.end(JSON.stringify(shape.token));
      });
      return true;
    });
    const registry = await start(({ authorization }, response) => {
      if (authorization === shape.proof) return false;
      response.setHeader("www-authenticate", shape.challenge(`http://${service.host}${shape.realm}`));
      refuse(response, 401, "UNAUTHORIZED");
      return true;
    });
    registry.add(`${shape.repository}:1`, IMAGE);
    return { asked, registry, repository: { host: registry.host, path: shape.repository } };
  }

  test("gives its image to who has what it asks for, and is asked for it once", async () => {
    const { asked, registry, repository } = await stage();
    const client = clientOf(registry.host, shape.login);
    expect(await client.resolve(repository, "1", NEVER)).toBe(IMAGE.manifest.digest);
    expect(await client.manifest(repository, IMAGE.manifest.digest, NEVER)).toEqual(IMAGE.manifest.bytes);
    expect(registry.requests.map(({ authorization }) => authorization)).toEqual([undefined, shape.proof, shape.proof]);
    const path = shape.realm?.replace(/\?.*/, "");
    expect(asked).toEqual(shape.asks ? [[shape.asks[0], path, shape.asks[1], shape.asks[2]]] : []);
  });

  test("is told nothing of a login that is another registry's", async () => {
    const { asked, registry, repository } = await stage();
    const client = clientOf("other.example", shape.login ?? LOGIN);
    await client.resolve(repository, "1", NEVER).catch(() => undefined);
    expect(JSON.stringify(asked)).not.toMatch(/Basic|refresh/);
    const told = registry.requests.map(({ authorization = "" }) => authorization);
    expect(told.filter((authorization) => authorization.startsWith("Basic"))).toEqual([]);
  });
});

/** A registry of bearer tokens; each that it gives takes the place of the one before. */
async function tokenRegistry(answer: (count: number) => Record<string, unknown>) {
  const bodies: Promise<string>[] = [];
  let count = 0;
  let isRevoked = false;
  const registry = await start((request, response) => {
    if (request.path === "/token") {
      if (request.method === "POST") bodies.push(request.body());
      isRevoked = false;
      response.end(JSON.stringify({ token: `t${++count}`, ...answer(count) }));
      return true;
    }
    if (!isRevoked && request.authorization === `Bearer t${count}`) return false;
    response.setHeader("www-authenticate", `Bearer realm="http://${registry.host}/token",service="s"`);
    refuse(response, 401, "UNAUTHORIZED");
    return true;
  });
  registry.add("demo/a:1", IMAGE);
  return {
    registry,
    bodies,
    repository: { host: registry.host, path: "demo/a" },
    revoke() {
      isRevoked = true;
    },
  };
}

test("a token that is about to expire is replaced before the next request, and not after a refusal", async () => {
  const { registry, repository } = await tokenRegistry(() => ({ expires_in: 4 }));
  const client = clientOf(registry.host, undefined);
  for (let times = 0; times < 3; times++) await client.manifest(repository, "1", NEVER);
  expect(registry.requests.map(({ path, authorization }) => authorization ?? path)).toEqual([
    "/v2/demo/a/manifests/1",
    "/token",
    "Bearer t1",
    "/token",
    "Bearer t2",
    "/token",
    "Bearer t3",
  ]);
});

test("a token's life counts from when it was issued, by the service's own clock", async () => {
  const old = new Date(Date.now() - 3_600_000).toISOString();
  const { registry, repository } = await tokenRegistry(() => ({ expires_in: 3_602, issued_at: old }));
  const client = clientOf(registry.host, undefined);
  for (let times = 0; times < 2; times++) await client.manifest(repository, "1", NEVER);
  expect(registry.count(/token/)).toBe(2);
});

test("a token that is revoked is replaced, and the request that met it succeeds", async () => {
  const { registry, repository, revoke } = await tokenRegistry(() => ({ expires_in: 3_600 }));
  const client = clientOf(registry.host, undefined);
  await client.manifest(repository, "1", NEVER);
  revoke();
  await client.manifest(repository, "1", NEVER);
  expect(registry.count(/token/)).toBe(2);
});

/** A registry in ECR's manner: a password that was right once, and is over, is forbidden, and not asked for again. */
async function passwordRegistry(isOver: (password: string | undefined) => number | undefined) {
  const registry = await start(({ authorization }, response) => {
    const status = authorization === undefined ? 401 : isOver(authorization);
    if (status === undefined) return false;
    if (status === 401) response.setHeader("www-authenticate", 'Basic realm="ecr"');
    refuse(response, status, "DENIED");
    return true;
  });
  registry.add("demo/a:1", IMAGE);
  const passwords = ["first", "second"];
  const credentials: Credentials = {
    of: async () => basicLogin("AWS", passwords[0] ?? ""),
    refused: () => void passwords.shift(),
  };
  const client = createRegistryClient({ credentials });
  return { registry, ask: () => client.manifest({ host: registry.host, path: "demo/a" }, "1", NEVER) };
}

test.each([403, 400])("a login that is over, of which the registry only says %i, is made anew", async (status) => {
  vi.useFakeTimers({ toFake: ["performance"] });
  let over: string | undefined;
  const { registry, ask } = await passwordRegistry((proof) => (proof === over ? status : undefined));
  expect(await ask()).toEqual(IMAGE.manifest.bytes);
  over = `Basic ${encode("AWS:first")}`;
  vi.advanceTimersByTime(3_600_000);
  expect(await ask()).toEqual(IMAGE.manifest.bytes);
  const proofs = registry.requests.map(({ authorization }) => authorization);
  expect(proofs.slice(2)).toEqual([over, undefined, `Basic ${encode("AWS:second")}`]);
});

test("but what is forbidden with a login that is new is forbidden", async () => {
  const { registry, ask } = await passwordRegistry(() => 403);
  for (let times = 0; times < 2; times++) await expect(ask()).rejects.toMatchObject({ reason: "image_access_denied" });
  expect(registry.requests).toHaveLength(3);
});

test("requests that are refused at the same time share one token", async () => {
  const { registry, repository } = await tokenRegistry(() => ({ expires_in: 3_600 }));
  const client = clientOf(registry.host, undefined);
  await Promise.all(Array.from({ length: 8 }, () => client.manifest(repository, "1", NEVER)));
  expect(registry.count(/token/)).toBeLessThan(8);
  const before = registry.count(/token/);
  await client.manifest(repository, "1", NEVER);
  expect(registry.count(/token/)).toBe(before);
});

test("a refresh token that its service replaces is not used again", async () => {
  const { registry, repository, bodies } = await tokenRegistry((count) => ({
    expires_in: 1,
    refresh_token: `r${count}`,
  }));
  const client = clientOf(registry.host, { identitytoken: "r0" });
  for (let times = 0; times < 3; times++) await client.manifest(repository, "1", NEVER);
  const used = (await Promise.all(bodies)).map((body) => new URLSearchParams(body).get("refresh_token"));
  expect(used).toEqual(["r0", "r1", "r2"]);
});

test("a refresh token is not carried to where its service redirects", async () => {
  const thief = await start(() => false);
  const registry = await start(({ path }, response) => {
    const isService = path === "/token";
    if (isService) response.writeHead(307, { location: `http://${thief.host}/token` }).end();
    else response.writeHead(401, { "www-authenticate": `Bearer realm="http://${registry.host}/token"` }).end();
    return true;
  });
  const asking = clientOf(registry.host, { identitytoken: "r0" }).manifest(
    { host: registry.host, path: "a" },
    "1",
    NEVER,
  );
  await expect(asking).rejects.toMatchObject({ reason: "image_access_denied", details: { status: 307 } });
  expect(thief.requests).toEqual([]);
});

test("a token service that is out of order makes the registry unavailable, and does not deny the image", async () => {
  const registry = await start(({ path }, response) => {
    if (path === "/token") refuse(response, 503, "BUSY");
    else response.writeHead(401, { "www-authenticate": `Bearer realm="http://${registry.host}/token"` }).end();
    return true;
  });
  const client = createRegistryClient({ limits: { retryDelaysMs: [1] } });
  const asking = client.manifest({ host: registry.host, path: "a" }, "1", NEVER);
  await expect(asking).rejects.toMatchObject({ reason: "registry_unavailable", details: { status: 503 } });
  expect(registry.count(/token/)).toBe(2);
});

test("a registry that wants a password does not get a token in its place", async () => {
  const registry = await start((_request, response) => {
    response.writeHead(401, { "www-authenticate": 'Basic realm="x"' }).end();
    return true;
  });
  const asking = clientOf(registry.host, { identitytoken: "r0" }).manifest(
    { host: registry.host, path: "a" },
    "1",
    NEVER,
  );
  await expect(asking).rejects.toThrow("asks for a login with a password, and we have a token");
  expect(registry.requests).toHaveLength(1);
});

test("a blob goes on with a new token when the old one is over in the middle of it", async () => {
  const { registry, repository, revoke } = await tokenRegistry(() => ({ expires_in: 3_600 }));
  const bytes = LAYER?.bytes ?? Buffer.alloc(0);
  const digest = LAYER?.digest ?? IMAGE.manifest.digest;
  const client = clientOf(registry.host, undefined);
  registry.cut(digest, 10);
  const stream = await client.blob(repository, { digest, size: bytes.length }, NEVER);
  revoke();
  expect(Buffer.concat(await stream.toArray())).toEqual(bytes);
  expect(registry.count(/token/)).toBe(2);
});
