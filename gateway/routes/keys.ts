// /v1/keys: API keys of all tenants, for operators. A key is in the answer that makes it, and in no other.

import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import {
  type ApiKey,
  KEY_ID_PATTERN,
  KeyId,
  KeyPage,
  KeyRotation,
  MadeKey,
  NewKey,
  TENANT_PATTERN,
  TenantName,
} from "../../core/api-key.ts";
import { parseDuration } from "../../core/units.ts";
import type { GatewayEnv } from "../context.ts";
import { MAX_AGE_MS } from "../dispatch/fresh.ts";
import type { KeyStore } from "../dispatch/key-store.ts";
import { FAILURES, json, page, problem } from "./schemas.ts";

const NO_KEY = problem("There is no key of this id.");
const KeyParams = z.object({ id: KeyId.meta({ param: { name: "id", in: "path" } }) });
const CURSOR = new RegExp(`${TENANT_PATTERN.source.slice(0, -1)}\\.${KEY_ID_PATTERN.source.slice(1)}`);

const EXAMPLE = {
  id: "key_3v8k2m9q4t7x",
  tenant: "acme",
  name: "nightly build",
  scopes: ["submit", "read"],
  createdAt: "2026-05-01T12:00:00.000Z",
  expiresAt: "2026-07-30T12:00:00.000Z",
} satisfies ApiKey;

const made = (description: string) => ({
  description,
  content: { "application/json": { schema: MadeKey, example: { ...EXAMPLE, key: "mayfly_3v8k2m9q4t7x_…" } } },
});

const make = createRoute({
  method: "post",
  path: "/v1/keys",
  summary: "Make an API key (operators)",
  request: {
    body: {
      required: true,
      content: {
        "application/json": {
          schema: NewKey,
          example: { tenant: "acme", name: "nightly build", scopes: ["submit", "read"], expiresIn: "90d" },
        },
      },
    },
  },
  responses: {
    201: made("The key, which is told here and never again."),
    409: problem("The tenant has as many keys as it may."),
    415: problem("The body is not application/json."),
    ...FAILURES,
  },
});

const list = createRoute({
  method: "get",
  path: "/v1/keys",
  summary: "API keys, by tenant and then by id; of all tenants, or of one (operators)",
  request: {
    query: page(CURSOR).extend({ tenant: TenantName.optional().meta({ description: "Only this one's." }) }),
  },
  responses: {
    200: json(KeyPage, "What there is to know of them, but for the keys.", { keys: [EXAMPLE] }),
    ...FAILURES,
  },
});

const rotate = createRoute({
  method: "post",
  path: "/v1/keys/{id}/rotate",
  summary: "Another key of the same id and rights; the one from before is good for a while longer (operators)",
  request: {
    params: KeyParams,
    body: { required: true, content: { "application/json": { schema: KeyRotation, example: { overlap: "24h" } } } },
  },
  responses: {
    200: made(
      "The new key, which is told here and never again. What was still good from a rotation before is so no longer.",
    ),
    404: NO_KEY,
    409: problem("The key is over."),
    415: problem("The body is not application/json."),
    ...FAILURES,
  },
});

const revoke = createRoute({
  method: "delete",
  path: "/v1/keys/{id}",
  summary: "Revoke an API key (operators)",
  request: { params: KeyParams },
  responses: {
    204: {
      description: `It is refused from now on here, and within ${MAX_AGE_MS / 1_000} s by every gateway. What was let in before goes on.`,
    },
    404: NO_KEY,
    ...FAILURES,
  },
});

export function registerKeys(app: OpenAPIHono<GatewayEnv>, keys: KeyStore): void {
  app.openapi(make, async (c) => {
    const key = await keys.make(c.req.valid("json"));
    c.header("cache-control", "no-store");
    return c.json(key, 201);
  });

  app.openapi(list, async (c) => c.json(await keys.list(c.req.valid("query")), 200));

  app.openapi(rotate, async (c) => {
    const key = await keys.rotate(c.req.valid("param").id, parseDuration(c.req.valid("json").overlap) ?? 0);
    c.header("cache-control", "no-store");
    return c.json(key, 200);
  });

  app.openapi(revoke, async (c) => {
    await keys.revoke(c.req.valid("param").id);
    return c.body(null, 204);
  });
}
