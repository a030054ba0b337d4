// What a host answers to members of its cluster about its images, as a function from request to answer.
//
// Every request is signed (core/host-token.ts). An error is `{reason, message, details}`; the gateway makes a problem of it.

import type { HttpBindings } from "@hono/node-server";
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import type { z } from "zod";
import { MayflyError, toMayflyError } from "../../core/errors.ts";
import { type ClusterSecret, isSignedByHost } from "../../core/host-token.ts";
import { HostRequests } from "../../core/images.ts";
import { describeIssues } from "../../core/issues.ts";
import type { Log } from "../../core/log.ts";
import type { Runtime } from "../../runtime/index.ts";
import { chunksOf, orHangUp } from "./archive.ts";
import { answerBlob } from "./blobs.ts";
import { streamPull } from "./pull-stream.ts";

export interface ImageServiceOptions {
  readonly runtime: Pick<Runtime, "ensureImage" | "images">;
  readonly secret: ClusterSecret;
  readonly maxArchiveBytes: number;
  readonly log: Log;
}

type Env = { Bindings: HttpBindings };

/** Of a request that is JSON: a reference and a word or two. */
const MAX_BODY_BYTES = 16_384;
const MAX_SAVED = 64;

/** How long a call that works on gigabytes may be silent; the others have the server's limit. */
const WORK_MS = 3_600_000;

export function createImageApp({ runtime, secret, maxArchiveBytes, log }: ImageServiceOptions): Hono<Env> {
  const { images: admin, ensureImage } = runtime;
  const app = new Hono<Env>();
  app.use(async (c, next) => {
    if (!(await isSigned(c, secret))) throw new MayflyError("key_unknown", "the request is not signed by a member");
    return next();
  });
  const small = bodyLimit({ maxSize: MAX_BODY_BYTES, onError: () => tooLarge(MAX_BODY_BYTES) });

  app.get("/images", async (c) => c.json(await admin.list()));
  app.get("/images/usage", async (c) => c.json(await admin.usage()));
  app.get("/images/inspect", async (c) => c.json(await admin.inspect(referenceOf(c))));
  app.delete("/images", async (c) => c.json(await atLength(c, () => admin.remove(referenceOf(c)))));
  app.post("/images/pull", small, async (c) => {
    const { reference, pull } = await bodyOf(c, HostRequests.pull);
    return streamPull(c, { ensureImage, reference, pull, log });
  });
  app.post("/images/pin", small, async (c) => {
    const { reference, pinned } = await bodyOf(c, HostRequests.pin);
    await admin.pin(reference, pinned);
    return c.json(pinned);
  });
  app.post("/images/prune", small, async (c) => {
    const options = await bodyOf(c, HostRequests.prune);
    return c.json(await atLength(c, () => admin.prune(options)));
  });
  app.post("/images/verify", small, async (c) => {
    const { reference, repair } = await bodyOf(c, HostRequests.verify);
    const options = { repair, ...(reference === undefined ? {} : { reference }) };
    return c.json(await atLength(c, () => admin.verify(options, c.req.raw.signal)));
  });
  app.post("/images/load", async (c) => {
    const archive = chunksOf(c.req.raw.body, maxArchiveBytes);
    return c.json(await atLength(c, () => admin.load(archive, c.req.raw.signal)));
  });
  app.get("/images/save", async (c) => {
    const references = c.req.queries("reference") ?? [];
    const format = c.req.query("format") ?? "oci";
    if (references.length === 0 || references.length > MAX_SAVED)
      throw invalid("reference", `is to be there 1 to ${MAX_SAVED} times`);
    if (format !== "oci" && format !== "docker") throw invalid("format", "is not oci or docker");
    const archive = await atLength(c, () => admin.save(references, format, c.req.raw.signal));
    const whole = orHangUp(archive, (error) => {
      if (!c.req.raw.signal.aborted) log.warn("images.save_failed", { references, error });
      c.env.outgoing.destroy();
    });
    return c.body(ReadableStream.from(whole), 200, { "content-type": "application/x-tar" });
  });
  app.get("/blobs/:digest", (c) => answerBlob(c, admin, c.req.param("digest")));

  app.notFound((c) => answerError(c, new MayflyError("route_not_found", `there is no ${c.req.method} ${c.req.path}`)));
  app.onError((thrown, c) => {
    const error = toMayflyError(thrown);
    if (error.code === "internal") log.error("images.request_failed", { path: c.req.path, error, stack: thrown.stack });
    return answerError(c, error);
  });
  return app;
}

/** The secret is looked up again before a signature is refused: Redis may have been emptied since. */
async function isSigned(c: Context<Env>, secret: ClusterSecret): Promise<boolean> {
  const request = { method: c.env.incoming.method ?? "", path: c.env.incoming.url ?? "" };
  const authorization = c.req.header("authorization");
  const by = (value: string) => isSignedByHost(value, request, authorization);
  return by(await secret.read()) || by(await secret.readAgain());
}

/** The reason says what it was; the status is only for those that are between. The message of a fault stays here. */
function answerError(c: Context, { code, reason, message, details }: MayflyError): Response {
  if (code === "internal") return c.json({ reason, message: "the fault is in this host's log", details: {} }, 500);
  const status = code === "unauthenticated" ? 401 : code === "not_found" ? 404 : 400;
  return c.json({ reason, message, details }, status);
}

async function bodyOf<T>(c: Context, schema: z.ZodType<T>): Promise<T> {
  const body: unknown = await c.req.json().catch(() => {
    throw new MayflyError("malformed_body", "the body is not JSON");
  });
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const [problem] = describeIssues(parsed.error, 1);
  throw invalid(problem?.path.join(".") || "body", problem?.message ?? "cannot be read");
}

function referenceOf(c: Context): string {
  const reference = c.req.query("reference");
  if (!reference) throw invalid("reference", "is required");
  return reference;
}

async function atLength<T>(c: Context<Env>, work: () => Promise<T>): Promise<T> {
  c.env.incoming.socket.setTimeout(WORK_MS);
  return work();
}

function invalid(field: string, message: string): MayflyError {
  return new MayflyError("invalid_field", `${field} ${message}`, { details: { field } });
}

function tooLarge(limit: number): never {
  throw new MayflyError("body_too_large", `the body is more than ${limit} bytes`, { details: { limit } });
}
