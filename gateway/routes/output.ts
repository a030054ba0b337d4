// GET /v1/runs/{id}/output/{stream}: kept bytes, or a range of them (RFC 9110, section 14).

import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { MayflyError } from "../../core/errors.ts";
import type { GatewayEnv } from "../context.ts";
import type { Dispatcher } from "../dispatch/dispatcher.ts";
import { parseRange } from "../range.ts";
import { FAILURES, NOT_FOUND, OutputParams, problem } from "./schemas.ts";

const BYTES = { content: { "application/octet-stream": { schema: z.string().meta({ format: "binary" }) } } };

const output = createRoute({
  method: "get",
  path: "/v1/runs/{id}/output/{stream}",
  summary: "The kept bytes of stdout or stderr, or a range of them, also while the program runs",
  request: {
    params: OutputParams,
    headers: z.object({
      range: z.string().optional().meta({
        description: "One range, `bytes=FIRST-LAST`, `bytes=FIRST-` or `bytes=-LENGTH`; anything else is passed over.",
        example: "bytes=1000-",
      }),
    }),
  },
  responses: {
    200: { description: "Raw bytes.", ...BYTES },
    206: {
      description: "The range; `Content-Range` has `*` for a length that may still grow.",
      ...BYTES,
    },
    404: NOT_FOUND,
    416: problem("The range begins where there is nothing (yet); `Content-Range` says how much there is."),
    ...FAILURES,
  },
});

export function registerOutput(app: OpenAPIHono<GatewayEnv>, dispatcher: Dispatcher): void {
  app.openapi(output, async (c) => {
    const { id, stream } = c.req.valid("param");
    const { state } = await dispatcher.get(id, c.get("tenant"));
    // Nobody has been told a validator, so none that is sent can match.
    const range = c.req.header("if-range") === undefined ? parseRange(c.req.header("range")) : undefined;
    const { bytes, length } = await dispatcher.store.slice(id, stream, range);
    // nosniff: what a program writes is never for a browser to run.
    const heads = {
      "content-type": "application/octet-stream",
      "x-content-type-options": "nosniff",
      "accept-ranges": "bytes",
    };
    if (!range) return c.body(new Uint8Array(bytes), 200, heads);
    if (bytes.length === 0) {
      c.header("content-range", `bytes */${length}`);
      throw new MayflyError("range_not_satisfiable", `there are ${length} bytes`, { details: { length } });
    }
    const first = range.first ?? length - bytes.length;
    const place = `bytes ${first}-${first + bytes.length - 1}/${state === "finished" ? length : "*"}`;
    return c.body(new Uint8Array(bytes), 206, { ...heads, "content-range": place });
  });
}
