// Where a registry may send us, and what we take along. A registry out in the world is played by 0.0.0.0, which is not loopback by name.

import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import type { RequestListener } from "node:http";
import { createServer, type Server, type ServerOptions } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { createRegistryClient } from "../../runtime/registry/client.ts";
import { makeAuthority } from "../helpers/certificates.ts";
import { startFakeRegistry } from "../helpers/fake-registry.ts";
import { NEVER } from "../helpers/image-store.ts";

let directory: string;
let credentials: ServerOptions;
let ca: Buffer;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "mayfly-redirects-"));
  const authority = await makeAuthority(directory, "authority");
  const { certificate, key } = await authority.issue("registry", "IP:0.0.0.0,IP:127.0.0.1,DNS:localhost");
  credentials = { cert: await readFile(certificate), key: await readFile(key) };
  ca = await readFile(authority.certificate);
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Secure {
  readonly port: number;
  readonly paths: readonly string[];
}

async function serve(answer: RequestListener): Promise<Secure> {
  const paths: string[] = [];
  const server: Server = createServer(credentials, (request, response) => {
    paths.push(request.url ?? "");
    answer(request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(async () => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  for (const host of ["0.0.0.0", "127.0.0.1", "localhost"]) {
    await mkdir(join(directory, `${host}:${port}`), { recursive: true });
    await writeFile(join(directory, `${host}:${port}`, "ca.crt"), ca);
  }
  return { port, paths };
}

const redirecting =
  (location: () => string): RequestListener =>
  (_request, response) =>
    void response.writeHead(307, { location: location() }).end();

const ask = (host: string, insecure: string[] = []) =>
  createRegistryClient({ certsDir: directory, insecure, limits: { retryDelaysMs: [], requestMs: 2_000 } }).manifest(
    { host, path: "demo/a" },
    "1",
    NEVER,
  );

test.each(["127.0.0.1", "localhost", "a.localhost", "[::1]", "169.254.169.254", "[::ffff:127.0.0.1]"])(
  "a registry out in the world may not redirect to %s",
  async (inner) => {
    const target = await serve((_request, response) => void response.end("secret"));
    const registry = await serve(redirecting(() => `https://${inner}:${target.port}/latest`));
    const failure = { reason: "registry_unavailable", message: expect.stringContaining("may not send us") };
    await expect(ask(`0.0.0.0:${registry.port}`)).rejects.toMatchObject(failure);
    expect(target.paths).toEqual([]);
  },
);

test("nor may its token service lie there", async () => {
  const target = await serve((_request, response) => void response.end("{}"));
  const registry = await serve((_request, response) => {
    const realm = `https://127.0.0.1:${target.port}/token`;
    response.writeHead(401, { "www-authenticate": `Bearer realm="${realm}"` }).end();
  });
  await expect(ask(`0.0.0.0:${registry.port}`)).rejects.toMatchObject({ reason: "image_access_denied" });
  expect(target.paths).toEqual([]);
});

test("a registry may be where it is: redirects within its own address are followed", async () => {
  const registry = await serve((request, response) => {
    if (request.url === "/moved") response.end("{}");
    else response.writeHead(307, { location: "/moved" }).end();
  });
  expect((await ask(`0.0.0.0:${registry.port}`)).toString()).toBe("{}");
});

test("a registry on the loopback network, being the operator's own, may redirect to another service there", async () => {
  const target = await serve((_request, response) => void response.end("{}"));
  const registry = await startFakeRegistry({
    intercept: (_request, response) => {
      response.writeHead(307, { location: `https://127.0.0.1:${target.port}/blob` }).end();
      return true;
    },
  });
  cleanups.push(() => registry.stop());
  expect((await ask(registry.host)).toString()).toBe("{}");
});

test.each([
  ["an address of this machine", (inner: Secure) => `https://127.0.0.1:${inner.port}/latest`, "may not send us"],
  ["plain HTTP", (_inner: Secure, plain: string) => `http://${plain}/latest`, "plain HTTP is not allowed"],
])("but whom it leads to may not lead on to %s", async (_what, target, words) => {
  const inner = await serve((_request, response) => void response.end("secret"));
  const plain = await startFakeRegistry();
  const storage = await serve(redirecting(() => target(inner, plain.host)));
  const registry = await startFakeRegistry({
    intercept: (_request, response) => {
      response.writeHead(307, { location: `https://0.0.0.0:${storage.port}/blob` }).end();
      return true;
    },
  });
  cleanups.push(
    () => registry.stop(),
    () => plain.stop(),
  );
  await expect(ask(registry.host)).rejects.toThrow(words);
  expect([inner.paths, storage.paths, plain.requests]).toEqual([[], ["/blob"], []]);
});

test("after HTTPS, nothing is asked in the clear, not even where that is allowed", async () => {
  const plain = await startFakeRegistry();
  cleanups.push(() => plain.stop());
  const registry = await serve(redirecting(() => `http://${plain.host}/blob`));
  await expect(ask(`0.0.0.0:${registry.port}`)).rejects.toThrow("plain HTTP is not allowed");
  expect(plain.requests).toEqual([]);
});

test("a login in the address of a redirect is neither sent nor told", async () => {
  const seen: (string | undefined)[] = [];
  const registry = await serve((request, response) => {
    seen.push(request.headers.authorization);
    if (request.url?.startsWith("/moved")) response.writeHead(500).end();
    else
      response
        .writeHead(307, { location: `https://alice:s3cret@${request.headers.host}/moved?signature=s3cret` })
        .end();
  });
  const error = await ask(`0.0.0.0:${registry.port}`).catch((thrown: unknown) => thrown);
  expect(String(error)).not.toContain("s3cret");
  expect(seen).toEqual([undefined, undefined]);
});
