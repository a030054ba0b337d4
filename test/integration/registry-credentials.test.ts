// Logins from helper programs and from directories of secrets, against a registry that wants Basic credentials.

import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { parseCredentials } from "../../runtime/registry/auth-file.ts";
import { createRegistryClient } from "../../runtime/registry/client.ts";
import { createCredentials } from "../../runtime/registry/credentials.ts";
import { createHelpers } from "../../runtime/registry/helper.ts";
import { createSecretsDirectory } from "../../runtime/registry/secrets-directory.ts";
import { registryOptions } from "../../runtime/registry/settings.ts";
import { buildImage, buildLayer, pushImage } from "../helpers/image-builder.ts";
import { NEVER } from "../helpers/image-store.ts";
import { type Registry, startRegistry } from "../helpers/registry.ts";

const LOGIN = { user: "alice", password: "s3cret:with:colons" };
const IMAGE = buildImage({ layers: [buildLayer([{ path: "f" }])] });
const BASIC = { kind: "basic", basic: Buffer.from(`${LOGIN.user}:${LOGIN.password}`).toString("base64") };

let registry: Registry;
beforeAll(async () => {
  registry = await startRegistry({ login: LOGIN });
  await pushImage(registry, "demo/a:1", IMAGE);
});
afterAll(() => registry.stop());

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "mayfly-credentials-"));
  return () => rm(directory, { recursive: true, force: true });
});

/** A helper that notes what it is asked, and then does this. */
async function helper(name: string, script: string): Promise<void> {
  const path = join(directory, `docker-credential-${name}`);
  const log = join(directory, "asked");
  await writeFile(path, `#!/bin/sh\nread server\necho "$1 $server" >> ${log}\n${script}\n`);
  await chmod(path, 0o755);
}

const asked = async () => (await readFile(join(directory, "asked"), "utf8")).trim().split("\n");

const answering = (user: string, secret: string) =>
  `echo '${JSON.stringify({ ServerURL: "x", Username: user, Secret: secret })}'`;

const helpers = (timeoutMs = 10_000) => createHelpers({ searchPath: `${directory}:/usr/bin:/bin`, timeoutMs });

function clientWith(file: object) {
  const credentials = createCredentials({ file: parseCredentials(JSON.stringify(file)), helpers: helpers() });
  return createRegistryClient({ credentials });
}

test("a helper that the file names for a registry gives its login, and is started once for many pulls", async () => {
  await helper("test", answering(LOGIN.user, LOGIN.password));
  const client = clientWith({ credHelpers: { [registry.host]: "test" } });
  const paths = ["demo/a", "demo/b", "demo/c"];
  const asking = paths.map((path) => client.manifest({ host: registry.host, path }, "1", NEVER));
  const [found, ...missing] = await Promise.allSettled(asking);
  expect(found).toEqual({ status: "fulfilled", value: IMAGE.manifest.bytes });
  expect(missing).toMatchObject(Array(2).fill({ reason: { reason: "image_not_found" } }));
  expect(await asked()).toEqual([`get ${registry.host}`]);
});

test("the helper for all is asked for what neither the file nor another helper has, by Docker Hub's old name too", async () => {
  await helper("all", answering("all", "secret"));
  await helper("one", answering("one", "secret"));
  const auth = Buffer.from("file:secret").toString("base64");
  const text = { auths: { "b.example": { auth } }, credHelpers: { "a.example": "one" }, credsStore: "all" };
  const credentials = createCredentials({ file: parseCredentials(JSON.stringify(text)), helpers: helpers() });
  const users: string[] = [];
  for (const host of ["a.example", "b.example", "c.example", "docker.io"]) {
    const login = await credentials.of(host, NEVER);
    users.push(login?.kind === "basic" ? Buffer.from(login.basic, "base64").toString() : "");
  }
  expect(users).toEqual(["one:secret", "file:secret", "all:secret", "all:secret"]);
  expect(await asked()).toEqual(["get a.example", "get c.example", "get https://index.docker.io/v1/"]);
});

test("a helper may answer a refresh token, or that it has nothing", async () => {
  await helper("token", answering("<token>", "refresh"));
  await helper("none", "echo 'credentials not found in native keychain'; exit 1");
  const programs = helpers();
  expect(await programs.get("token", "a.example", NEVER)).toEqual({ kind: "identity", refreshToken: "refresh" });
  expect(await programs.get("none", "b.example", NEVER)).toBeUndefined();
});

test("what a helper said is forgotten when the registry refuses it", async () => {
  await helper("test", answering("alice", "guess"));
  const client = clientWith({ credsStore: "test" });
  const ask = () => client.manifest({ host: registry.host, path: "demo/a" }, "1", NEVER);
  await expect(ask()).rejects.toMatchObject({ reason: "image_access_denied" });
  await helper("test", answering(LOGIN.user, LOGIN.password));
  expect(await ask()).toEqual(IMAGE.manifest.bytes);
});

test.each([
  ["is not there", undefined, "no such program"],
  ["fails", "echo 'no keychain for s3cret' >&2; exit 3", "it exited with 3"],
  ["answers nonsense", "echo s3cret", "no user name and secret in JSON"],
  ["answers without a secret", `echo '{"Username": "s3cret", "Secret": ""}'`, "no user name and secret in JSON"],
  ["prints without end", "exec yes s3cret", "it printed more than 65536 bytes"],
  ["hangs", "sleep 1000", "it has not answered within 300 ms"],
  ["leaves a daemon with its pipes", "setsid sleep 5 & echo s3cret", "it has not answered within 300 ms"],
])("a helper that %s is named, and what it printed is not told", async (_what, script, words) => {
  if (script !== undefined) await helper("bad", script);
  const error = await helpers(300)
    .get("bad", "a.example", NEVER)
    .catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ reason: "host_unavailable", message: expect.stringContaining(words) });
  expect(error).toMatchObject({ message: expect.stringContaining("docker-credential-bad") });
  expect(String(error)).not.toContain("s3cret");
});

test("why a helper failed, in its own words, is for the operator's log", async () => {
  await helper("bad", "echo 'no keychain' >&2; exit 3");
  await expect(helpers(10_000).get("bad", "a.example", NEVER)).rejects.toMatchObject({
    cause: expect.objectContaining({ message: "no keychain" }),
  });
});

test("a helper ends with the request that waits for it", async () => {
  await helper("slow", "sleep 1000");
  const caller = new AbortController();
  const asking = helpers(60_000).get("slow", "a.example", caller.signal);
  await expect.poll(() => asked().catch(() => [])).toHaveLength(1);
  caller.abort(new Error("enough"));
  await expect(asking).rejects.toThrow("enough");
});

async function secret(host: string, files: Record<string, string>): Promise<void> {
  await mkdir(join(directory, host), { recursive: true });
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, host, name), text);
}

test("a secret's files open the registry that their directory is named after, and may be changed at any time", async () => {
  const client = createRegistryClient(await registryOptions({ registrySecretsDir: directory }));
  const ask = () => client.manifest({ host: registry.host, path: "demo/a" }, "1", NEVER);
  await expect(ask()).rejects.toMatchObject({ reason: "image_access_denied" });
  await secret(registry.host, { username: "alice\n", password: "guess\n" });
  await expect(ask()).rejects.toMatchObject({ reason: "image_access_denied" });
  await secret(registry.host, { password: `${LOGIN.password}\n` });
  expect(await ask()).toEqual(IMAGE.manifest.bytes);
});

test("secrets come before the file, and tokens are refresh tokens", async () => {
  await secret("a.example:5000", { username: LOGIN.user, password: LOGIN.password });
  await secret("b.example", { token: "refresh\r\n" });
  const file = parseCredentials(JSON.stringify({ auths: { "a.example:5000": { username: "x", password: "y" } } }));
  const credentials = createCredentials({ file, secrets: createSecretsDirectory(directory) });
  expect(await credentials.of("a.example:5000", NEVER)).toEqual(BASIC);
  expect(await credentials.of("b.example", NEVER)).toEqual({ kind: "identity", refreshToken: "refresh" });
  expect(await credentials.of("a.example", NEVER)).toBeUndefined();
});

test.each([
  ["a user without a password", { username: "s3cret" }],
  ["an empty password", { username: "s3cret", password: "\n" }],
  ["a user with a colon", { username: "s3:cret", password: "x" }],
  ["a token beside a password", { username: "u", password: "s3cret", token: "t" }],
  ["an empty token", { token: "" }],
  ["more than a login can have", { token: "s3cret".repeat(20_000) }],
])("%s is refused by the name of its directory", async (_what, files) => {
  await secret("a.example", files);
  const error = await createSecretsDirectory(directory)
    .read("a.example")
    .catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({
    reason: "configuration_invalid",
    message: expect.stringContaining(join(directory, "a.example")),
  });
  expect(String(error)).not.toMatch(/s3:?cret/);
});

test("a host names one directory, and never a way out of it", async () => {
  await writeFile(join(directory, "token"), "secret");
  const secrets = createSecretsDirectory(join(directory, "sub"));
  for (const host of ["..", ".", "", "../sub", "a/../.."]) expect(await secrets.read(host)).toBeUndefined();
});

test.each(["registrySecretsDir", "registryCertsDir"])(
  "%s that is no directory is refused at the start",
  async (setting) => {
    await expect(registryOptions({ [setting]: join(directory, "missing") })).rejects.toMatchObject({
      reason: "configuration_invalid",
    });
  },
);
