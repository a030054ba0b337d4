// GET /v1/runs/{id}/artifacts: what a run has left, as a list, as a tar, or one file of it.

import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { type ArtifactFacts, ArtifactList } from "../../core/artifacts.ts";
import { MayflyError } from "../../core/errors.ts";
import { RUN_ID_PATTERN } from "../../core/ids.ts";
import type { GatewayEnv } from "../context.ts";
import type { Dispatcher } from "../dispatch/dispatcher.ts";
import { answerPart, type Part } from "../part.ts";
import { FAILURES, json, NOT_FOUND, problem, RunParams } from "./schemas.ts";

const TAR = "application/x-tar";
const BYTES = "application/octet-stream";

const EXAMPLE: ArtifactList = {
  files: 1,
  bytes: 27,
  truncated: { files: 2, bytes: 73_400_320 },
  artifacts: [
    {
      path: "/out/report.json",
      bytes: 27,
      mode: "0644",
      modified: "2026-01-31T08:00:00.000Z",
      sha256: "5ac6a5945f16500911219129984ba8b387a06f24fe383ce4e81a73294065461b",
    },
  ],
};

const raw = z.string().meta({ format: "binary" });
const bytes = (description: string) => ({ description, content: { [BYTES]: { schema: raw } } });

const headers = z.object({
  range: z.string().optional().meta({ description: "One range of bytes, as of output.", example: "bytes=1000-" }),
  "if-none-match": z.string().optional().meta({ description: "An `ETag` of before: 304 if it still is that." }),
  "if-range": z.string().optional().meta({ description: "An `ETag` of before: without it the range is passed over." }),
});

const PART = {
  206: bytes("The range."),
  304: { description: "It is what the caller has." },
  409: problem("The run has not finished."),
  416: problem("The range begins behind the last byte; `Content-Range` says how many there are."),
  ...FAILURES,
};

const list = createRoute({
  method: "get",
  path: "/v1/runs/{id}/artifacts",
  summary: "The files that a run has left",
  description:
    "JSON; or, with `Accept: application/x-tar`, the files themselves, under their paths without the leading slash.",
  request: {
    params: RunParams,
    headers: headers.extend({ accept: z.string().optional().meta({ example: "application/x-tar" }) }),
  },
  responses: {
    200: {
      description: "What there is.",
      content: { ...json(ArtifactList, "", EXAMPLE).content, [TAR]: { schema: raw } },
    },
    404: problem(
      "There is no such run, it is another tenant's, it asked for no artifacts, or none could be collected.",
    ),
    ...PART,
  },
});

const ONE = "/v1/runs/:id/artifacts/:path{.+}";

const ONE_DOCUMENT = {
  method: "get",
  path: "/v1/runs/{id}/artifacts/{path}",
  summary: "The bytes of one file that a run has left, or a range of them",
  description: "The path stands in the URL as it is, slashes and all, without its first.",
  request: {
    params: RunParams.extend({
      path: z.string().meta({ param: { name: "path", in: "path" }, example: "out/report.json" }),
    }),
    headers,
  },
  responses: {
    200: bytes("Its bytes. `ETag` has their SHA-256."),
    ...PART,
    404: { ...NOT_FOUND, description: "There is no such run, it is another tenant's, or it has kept no such file." },
  },
} as const;

export function registerArtifacts(app: OpenAPIHono<GatewayEnv>, dispatcher: Dispatcher): void {
  const { artifacts } = dispatcher.store;

  app.openapi(list, async (c) => {
    const { id } = c.req.valid("param");
    const { facts, attempt } = await finished(c, id);
    c.header("vary", "accept");
    if (!wantsTar(c.req.header("accept"))) return c.json({ ...facts, artifacts: await artifacts.list(id) }, 200);
    const length = await artifacts.tarBytes(id);
    return part(c, id, { offset: 0, length, etag: `"${id}-${attempt}"`, name: `${id}.tar`, type: TAR }) as never;
  });

  app.openAPIRegistry.registerPath(ONE_DOCUMENT);
  app.get(ONE, async (c) => {
    const { id, path } = { id: c.req.param("id"), path: `/${c.req.param("path")}` };
    // Nothing else may become the name of a key.
    if (!RUN_ID_PATTERN.test(id)) throw new MayflyError("run_not_found", "that is no run's id");
    await finished(c, id);
    const found = await artifacts.find(id, path);
    if (!found) throw noArtifact(`the run ${id} has kept no ${JSON.stringify(path)}`);
    const name = path.slice(path.lastIndexOf("/") + 1);
    c.header("last-modified", new Date(found.modifiedMs).toUTCString());
    return part(c, id, { offset: found.offset, length: found.bytes, etag: `"${found.sha256}"`, name, type: BYTES });
  });

  function part(c: Context<GatewayEnv>, id: string, { offset, ...what }: Omit<Part, "read"> & { offset: number }) {
    return answerPart(c, { ...what, read: (from, length) => artifacts.read(id, offset + from, length) });
  }

  /** Of a run that has finished: before that there is nothing that will stay. */
  async function finished(c: Context<GatewayEnv>, id: string): Promise<{ facts: ArtifactFacts; attempt: number }> {
    const { state, request, artifacts: facts, attempt } = await dispatcher.get(id, c.get("tenant"));
    c.set("run", id);
    if (!request.artifacts) throw noArtifact(`the run ${id} asked for no artifacts`);
    if (state !== "finished") throw new MayflyError("run_not_finished", `the run ${id} has not finished`);
    if (!facts) throw noArtifact(`the run ${id} has none: its program was not started, or its host was lost`);
    return { facts, attempt };
  }
}

function noArtifact(message: string): MayflyError {
  return new MayflyError("artifact_not_found", message);
}

/** Whether the caller names it, and not with a weight of nothing. */
function wantsTar(accept = ""): boolean {
  return accept.split(",").some((range) => {
    const [type = "", ...parameters] = range.split(";").map((word) => word.trim().toLowerCase());
    return type === TAR && !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter));
  });
}
