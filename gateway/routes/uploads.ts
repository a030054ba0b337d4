// /v1/uploads: a tar of files that runs may name. It is unpacked as it comes, and nothing of it is held here but a piece.

import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { isMayflyError, MayflyError } from "../../core/errors.ts";
import { UPLOAD_ID_PATTERN } from "../../core/ids.ts";
import { UPLOAD_BOUNDS, UPLOAD_DEFAULTS, Upload, UploadId, UploadPage } from "../../core/uploads.ts";
import type { GatewayEnv } from "../context.ts";
import type { UploadStore } from "../dispatch/upload-store.ts";
import { limited, UPLOADS_PATH } from "../middleware/limit-body.ts";
import { gunzipped } from "../uploads/gunzip.ts";
import { tarBytes, unpackTar } from "../uploads/unpack.ts";
import { FAILURES, json, page, problem } from "./schemas.ts";

type App = OpenAPIHono<GatewayEnv>;

const Params = z.object({ id: UploadId.meta({ param: { name: "id", in: "path" } }) });
const NOT_FOUND = problem("The tenant has no such upload, or its time is over.");

const EXAMPLE = {
  id: "upl_01k3q7v2m8r4t6w9x1z3b5c7d9",
  ...{ bytes: 70_512, files: 12, createdAt: "2026-01-31T08:00:00.000Z", expiresAt: "2026-02-01T08:00:00.000Z" },
};

const tar = z.string().meta({ format: "binary" });

const CREATE = {
  method: "post",
  path: UPLOADS_PATH,
  summary: "Send a tar of many files, which runs then name by `upload`",
  description: [
    "The body is a tar, plain or gzip: `tar -C DIR -c . | curl --data-binary @- -H 'content-type: application/x-tar' …`.",
    `It has regular files and directories, at most ${UPLOAD_BOUNDS.entries.toLocaleString("en")} of them, with relative paths of at most ${UPLOAD_BOUNDS.pathBytes} bytes and without \`..\`; links, devices and sparse files are refused.`,
    "Permissions are kept, of files; owners and times are not. Directories can be written by the program's user.",
    `An upload lasts ${UPLOAD_DEFAULTS.life} (MAYFLY_UPLOAD_LIFE), and for runs that have named it until they have ended. A body that breaks off leaves nothing behind.`,
  ].join("\n\n"),
  request: {
    body: { required: true, content: { "application/x-tar": { schema: tar }, "application/gzip": { schema: tar } } },
  },
  responses: {
    201: json(Upload, "It is there; `Location` is where it is told of.", EXAMPLE),
    ...FAILURES,
    400: problem("The body is no whole tar, or has an entry that is not taken; the entry is named."),
    413: problem("Its files and their paths have more bytes than MAYFLY_MAX_UPLOAD."),
    415: problem("The body is neither application/x-tar nor application/gzip."),
    429: problem(
      `The tenant has as many uploads as it may: MAYFLY_TENANT_UPLOADS together, and ${UPLOAD_BOUNDS.ofTenant.toLocaleString("en")}; or this gateway as many requests.`,
    ),
  },
} as const;

const list = createRoute({
  method: "get",
  path: UPLOADS_PATH,
  summary: "The tenant's uploads, newest first",
  request: { query: page(UPLOAD_ID_PATTERN) },
  responses: { 200: json(UploadPage, "One page.", { uploads: [EXAMPLE] }), ...FAILURES },
});

const get = createRoute({
  method: "get",
  path: `${UPLOADS_PATH}/{id}`,
  summary: "One upload",
  request: { params: Params },
  responses: { 200: json(Upload, "What is told of it.", EXAMPLE), 404: NOT_FOUND, ...FAILURES },
});

const remove = createRoute({
  method: "delete",
  path: `${UPLOADS_PATH}/{id}`,
  summary: "Remove an upload; runs that have named it keep it until they have ended",
  request: { params: Params },
  responses: {
    204: { description: "No run can name it any more. It counts against the tenant's bytes until no run needs it." },
    404: NOT_FOUND,
    ...FAILURES,
  },
});

export interface UploadRules {
  readonly maxUploadBytes: number;
  /** Counts one that comes in. Returns the way out; throws `too_many_waiters`. */
  readonly enter: () => () => void;
}

export function registerUploads(app: App, uploads: UploadStore, { maxUploadBytes, enter }: UploadRules): void {
  app.openAPIRegistry.registerPath(CREATE);
  app.post(UPLOADS_PATH, async (c) => {
    checkType(c);
    const leave = enter();
    try {
      const maxTar = tarBytes(maxUploadBytes);
      const tar = gunzipped(whole(limited(c.req.raw.body, maxTar)), maxTar);
      const upload = await uploads.write(c.get("tenant"), (keep) => unpackTar(tar, maxUploadBytes, keep));
      c.header("location", `${UPLOADS_PATH}/${upload.id}`);
      return c.json(upload, 201);
    } finally {
      leave();
    }
  });

  app.openapi(list, async (c) => c.json(await uploads.list(c.get("tenant"), c.req.valid("query")), 200));
  app.openapi(get, async (c) => c.json(await uploads.get(c.req.valid("param").id, c.get("tenant")), 200));
  app.openapi(remove, async (c) => {
    await uploads.remove(c.req.valid("param").id, c.get("tenant"));
    return c.body(null, 204);
  });
}

const TYPES: readonly string[] = ["application/x-tar", "application/gzip", "application/x-gzip"];
const ENCODINGS: readonly string[] = ["identity", "gzip"];

/** That it says what it is also keeps out what a web page can send without asking. */
function checkType({ req }: Context): void {
  const type = req.header("content-type")?.split(";")[0]?.trim().toLowerCase() ?? "missing";
  if (!TYPES.includes(type))
    throw new MayflyError("unsupported_media_type", `Content-Type is ${type}; it must be ${TYPES.join(" or ")}`);
  const encoding = req.header("content-encoding")?.trim().toLowerCase() ?? "identity";
  if (!ENCODINGS.includes(encoding))
    throw new MayflyError(
      "unsupported_media_type",
      `Content-Encoding is ${encoding}; it must be ${ENCODINGS.join(" or ")}`,
    );
}

/** A body that breaks off is the caller's fault, who most often is not there any more to hear of it. */
async function* whole(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (cause) {
    if (isMayflyError(cause)) throw cause;
    throw new MayflyError("upload_invalid", "the body broke off", { cause });
  }
}
