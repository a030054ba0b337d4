// A registry in memory, for what a real one will not do on demand: count, lie, hang, redirect, hand out tokens.
//
// It answers the GETs and the HEAD of a pull, over plain HTTP on the loopback interface. Everything else is the test's: `intercept`
// sees each request first and may answer it.

import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import type { Blob, BuiltImage, BuiltIndex } from "./image-builder.ts";
import type { Login } from "./registry.ts";

export interface FakeRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly authorization: string | undefined;
  readonly headers: IncomingHttpHeaders;
  /** Of a POST; to be asked for once. */
  body(): Promise<string>;
}

/** Returns true when it has answered, or will. */
export type Intercept = (request: FakeRequest, response: ServerResponse) => boolean;

export interface FakeRegistryOptions {
  readonly intercept?: Intercept;
  /** Asks for bearer tokens from its own `/token`, which wants this login, or nothing from "anonymous". */
  readonly tokens?: Login | "anonymous";
  /** What a token answer says of its life. */
  readonly tokenSeconds?: number;
  /** Answers all of a blob to who asks for the rest of it, as the specification allows. */
  readonly ignoresRanges?: boolean;
}

export interface FakeRegistry {
  readonly host: string;
  /** All requests so far, in order. */
  readonly requests: readonly FakeRequest[];
  /** How many requests had a path that matches. */
  count(pattern: RegExp): number;
  /** Serves the image under `repository:tag`, and all of it by digest. Answers with the references. */
  add(name: string, image: BuiltImage | BuiltIndex): { reference: string; byDigest: string };
  /** Replaces what is served for a digest, without changing its name. */
  lie(digest: string, bytes: Buffer): void;
  forget(digest: string): void;
  /** Breaks the connection in the middle of the next answers with this digest: each after so many bytes of its body. */
  cut(digest: string, ...afterBytes: number[]): void;
  /** Cuts all connections. Idempotent. */
  stop(): Promise<void>;
}

const TOKEN = "a-token";

export async function startFakeRegistry(options: FakeRegistryOptions = {}): Promise<FakeRegistry> {
  const content = new Map<string, Blob>();
  const cuts = new Map<string, number[]>();
  const requests: FakeRequest[] = [];
  const server = createServer((incoming, response) => {
    const request = read(incoming);
    requests.push(request);
    if (options.intercept?.(request, response)) return;
    if (request.path === "/token") return answerToken(request, response, options);
    if (options.tokens && request.authorization !== `Bearer ${TOKEN}`) return challenge(incoming, response);
    serve(request, response, { content, cuts, ignoresRanges: options.ignoresRanges ?? false });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    host,
    requests,
    count: (pattern) => requests.filter(({ path }) => pattern.test(path)).length,
    add(name, image) {
      const [repository = "", tag = ""] = name.split(":");
      for (const blob of blobsOf(image)) content.set(blob.digest, blob);
      content.set(`${repository}:${tag}`, image.manifest);
      return { reference: `${host}/${name}`, byDigest: `${host}/${repository}@${image.manifest.digest}` };
    },
    lie(digest, bytes) {
      const blob = content.get(digest);
      if (blob) content.set(digest, { ...blob, bytes });
    },
    forget: (digest) => void content.delete(digest),
    cut: (digest, ...afterBytes) => void cuts.set(digest, afterBytes),
    async stop() {
      if (!server.listening) return;
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

function read(incoming: IncomingMessage): FakeRequest {
  const url = new URL(incoming.url ?? "/", "http://fake");
  const { method = "", headers } = incoming;
  const { authorization } = headers;
  return { method, path: url.pathname, query: url.searchParams, authorization, headers, body: () => text(incoming) };
}

function blobsOf(image: BuiltImage | BuiltIndex): Blob[] {
  const parts = "images" in image ? image.images : [image];
  return [image.manifest, ...parts.flatMap((part) => [part.manifest, ...part.blobs])];
}

interface Shelf {
  readonly content: ReadonlyMap<string, Blob>;
  readonly cuts: ReadonlyMap<string, number[]>;
  readonly ignoresRanges: boolean;
}

function serve(request: FakeRequest, response: ServerResponse, { content, cuts, ignoresRanges }: Shelf): void {
  const [, repository = "", kind, name = ""] = /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(request.path) ?? [];
  const blob = content.get(name.startsWith("sha256:") ? name : `${repository}:${name}`);
  if (!blob) return refuse(response, 404, kind === "blobs" ? "BLOB_UNKNOWN" : "MANIFEST_UNKNOWN");
  const from = ignoresRanges ? undefined : /^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1];
  const part = blob.bytes.subarray(Number(from ?? 0));
  const { length } = blob.bytes;
  response.writeHead(from === undefined ? 200 : 206, {
    "content-type": blob.mediaType,
    "content-length": part.length,
    ...(from === undefined ? {} : { "content-range": `bytes ${from}-${length - 1}/${length}` }),
    ...(kind === "manifests" ? { "docker-content-digest": blob.digest } : {}),
  });
  const afterBytes = cuts.get(name)?.shift();
  if (afterBytes === undefined) response.end(part);
  else response.write(part.subarray(0, afterBytes), () => response.destroy());
}

/** An errors document as the distribution specification has it. */
export function refuse(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify({ errors: [{ code, message: `${code} said the fake` }] }));
}

function challenge(incoming: IncomingMessage, response: ServerResponse): void {
  const realm = `http://${incoming.headers.host}/token`;
  response.setHeader(
    "www-authenticate",
    `Bearer realm="${realm}",service="fake, \\"quoted\\"",scope="repository:demo/a:pull"`,
  );
  refuse(response, 401, "UNAUTHORIZED");
}

function answerToken(
  { authorization }: FakeRequest,
  response: ServerResponse,
  { tokens, tokenSeconds }: FakeRegistryOptions,
): void {
  const isAnonymous = tokens === "anonymous" || tokens === undefined;
  const wanted = isAnonymous
    ? undefined
    : `Basic ${Buffer.from(`${tokens.user}:${tokens.password}`).toString("base64")}`;
  if (wanted !== undefined && authorization !== wanted) refuse(response, 401, "UNAUTHORIZED");
  else response.end(JSON.stringify({ token: TOKEN, expires_in: tokenSeconds ?? 300 }));
}
