// Registries with certificates of an authority of their own, and one that wants to see ours: Debian's registry with TLS.
//
// It listens on 127.0.0.1, which is spoken to in the clear; so it is asked for as 0.0.0.0, which leads there too, and is not loopback by name.

import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { createRegistryClient, type RegistryOptions } from "../../runtime/registry/client.ts";
import { type Authority, type Issued, makeAuthority } from "../helpers/certificates.ts";
import { startFakeRegistry } from "../helpers/fake-registry.ts";
import { buildImage, buildLayer, pushImage } from "../helpers/image-builder.ts";
import { NEVER } from "../helpers/image-store.ts";
import { type RegistryRecipe, startRegistry } from "../helpers/registry.ts";

const LAYER = buildLayer([{ path: "f", content: Buffer.alloc(1_000_000, 1) }], "none");
const IMAGE = buildImage({ layers: [LAYER] });

let directory: string;
let storage: string;
let authority: Authority;
let stranger: Authority;
let served: Issued;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "mayfly-tls-"));
  storage = join(directory, "storage");
  authority = await makeAuthority(directory, "authority");
  stranger = await makeAuthority(directory, "stranger");
  served = await authority.issue("registry", "IP:0.0.0.0");
  const plain = await startRegistry({ storage });
  await pushImage(plain, "demo/a:1", IMAGE);
  await plain.stop();
});
afterAll(() => rm(directory, { recursive: true, force: true }));

let certsDir: string;
beforeEach(async () => {
  certsDir = await mkdtemp(join(directory, "certs-"));
});

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function serve({ certificate, key }: Issued = served, more: { clientCa?: string } & RegistryRecipe = {}) {
  const { clientCa, ...recipe } = more;
  const tls = { certificate, key, ...(clientCa === undefined ? {} : { clientCa }) };
  const registry = await startRegistry({ storage, tls, ...recipe });
  cleanups.push(() => registry.stop());
  return registry.host.replace("127.0.0.1", "0.0.0.0");
}

async function trust(host: string, files: Record<string, string>): Promise<void> {
  await mkdir(join(certsDir, host), { recursive: true });
  for (const [name, path] of Object.entries(files)) await copyFile(path, join(certsDir, host, name));
}

const clientOf = (options: RegistryOptions = {}) =>
  createRegistryClient({ limits: { retryDelaysMs: [1] }, ...options });

const ask = (host: string, client = clientOf({ certsDir })) =>
  client.manifest({ host, path: "demo/a" }, IMAGE.manifest.digest, NEVER);

const distrusted = (code: RegExp) => ({
  reason: "registry_unavailable",
  message: expect.stringContaining("certificate"),
  details: { certificate: expect.stringMatching(code) },
});

test("a registry of an authority that is trusted for it gives its image", async () => {
  const host = await serve();
  await trust(host, { "ca.crt": authority.certificate });
  const client = clientOf({ certsDir });
  const repository = { host, path: "demo/a" };
  expect(await client.resolve(repository, "1", NEVER)).toBe(IMAGE.manifest.digest);
  const stream = await client.blob(repository, { digest: LAYER.digest, size: LAYER.bytes.length }, NEVER);
  expect(Buffer.concat(await stream.toArray())).toEqual(LAYER.bytes);
});

test("an authority is trusted for the host that its directory names, and for no other", async () => {
  const [host, other] = [await serve(), await serve()];
  await trust(other, { "ca.crt": authority.certificate });
  await expect(ask(host)).rejects.toMatchObject(distrusted(/UNABLE_TO_VERIFY|SELF_SIGNED|UNABLE_TO_GET_ISSUER/));
  expect(await ask(other)).toEqual(IMAGE.manifest.bytes);
});

test("without an authority, or with a wrong one, it is the certificate that is told, and it is not asked again and again", async () => {
  const host = await serve();
  await expect(ask(host, clientOf())).rejects.toMatchObject(
    distrusted(/UNABLE_TO_VERIFY|SELF_SIGNED|UNABLE_TO_GET_ISSUER/),
  );
  await trust(host, { "ca.crt": stranger.certificate });
  await expect(ask(host)).rejects.toMatchObject(
    distrusted(/UNABLE_TO_VERIFY|SELF_SIGNED|UNABLE_TO_GET_ISSUER|SIGNATURE/),
  );
});

test("an authority that is put right needs no restart", async () => {
  const host = await serve();
  const client = clientOf({ certsDir });
  await expect(ask(host, client)).rejects.toMatchObject({ reason: "registry_unavailable" });
  await trust(host, { "ca.crt": authority.certificate });
  expect(await ask(host, client)).toEqual(IMAGE.manifest.bytes);
});

test("a certificate for another name is told as such", async () => {
  const host = await serve(await authority.issue("other", "DNS:other.example"));
  await trust(host, { "ca.crt": authority.certificate });
  await expect(ask(host)).rejects.toMatchObject(distrusted(/ALTNAME/));
});

test("a registry that wants to see our certificate gives its image to who shows it, and to nobody else", async () => {
  const ours = await authority.issue("client", "DNS:client.example");
  const host = await serve(served, { clientCa: authority.certificate });
  await trust(host, { "ca.crt": authority.certificate });
  await expect(ask(host)).rejects.toMatchObject({ reason: "registry_unavailable" });
  await trust(host, { "client.cert": ours.certificate, "client.key": ours.key });
  expect(await ask(host)).toEqual(IMAGE.manifest.bytes);
});

test.each([
  ["redirected to", (realm: string) => ({ location: realm })],
  ["named as a token service", (realm: string) => ({ "www-authenticate": `Bearer realm="${realm}"` })],
])("our certificate is not shown where another registry has %s: what is there is not his", async (_what, headers) => {
  const ours = await authority.issue("shown", "DNS:client.example");
  const host = await serve(served, { clientCa: authority.certificate });
  await trust(host, { "ca.crt": authority.certificate, "client.cert": ours.certificate, "client.key": ours.key });
  const place = `https://${host}/v2/demo/a/manifests/1`;
  const other = await startFakeRegistry({
    intercept: (_request, response) => {
      const answer = headers(place);
      response.writeHead("location" in answer ? 307 : 401, answer).end();
      return true;
    },
  });
  cleanups.push(() => other.stop());
  const asked = await clientOf({ certsDir })
    .manifest({ host: other.host, path: "demo/b" }, "1", NEVER)
    .catch((error: unknown) => error);
  expect(asked).toMatchObject({ reason: "registry_unavailable", details: { host } });
});

test.each([
  ["a ca.crt that is no certificate", ["ca.crt"], "not a certificate in PEM"],
  ["a certificate without its key", ["client.cert"], "only one of client.cert and client.key"],
])("%s is told by its path", async (_what, names, words) => {
  const host = await serve();
  await mkdir(join(certsDir, host));
  for (const name of names) await writeFile(join(certsDir, host, name), "nonsense");
  const expected = { reason: "registry_unavailable", message: expect.stringContaining(words) };
  await expect(ask(host)).rejects.toMatchObject(expected);
  await expect(ask(host)).rejects.toThrow(join(certsDir, host));
});
