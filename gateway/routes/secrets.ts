// /v1/secrets: what runs may be given by `secretEnv`, for operators. A value goes in and does not come out.

import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { TenantName } from "../../core/api-key.ts";
import { NewSecret, SECRET_NAME_PATTERN, Secret, SecretName, SecretPage } from "../../core/secret.ts";
import type { GatewayEnv } from "../context.ts";
import type { SecretStore } from "../dispatch/secret-store.ts";
import { FAILURES, json, page, problem } from "./schemas.ts";

const Params = z.object({ name: SecretName.meta({ param: { name: "name", in: "path" } }) });
const Owner = z.strictObject({
  tenant: TenantName.optional().meta({ description: "Whose runs may have it; all tenants' without it." }),
});
const CURSOR = new RegExp(`^[a-z0-9_*-]{1,63}:${SECRET_NAME_PATTERN.source.slice(1)}`);

const set = createRoute({
  method: "put",
  path: "/v1/secrets/{name}",
  summary: "Set a secret; runs that start from now on are given the new value (operators)",
  request: {
    params: Params,
    query: Owner,
    body: { required: true, content: { "application/json": { schema: NewSecret, example: { value: "…" } } } },
  },
  responses: {
    200: json(Secret, "What is told of it: not its value."),
    409: problem("The gateway has no key for secrets, or there are as many secrets as may be."),
    415: problem("The body is not application/json."),
    ...FAILURES,
  },
});

const list = createRoute({
  method: "get",
  path: "/v1/secrets",
  summary: "The names of secrets, by tenant (operators)",
  request: { query: page(CURSOR).extend({ tenant: TenantName.optional().meta({ description: "Only its own." }) }) },
  responses: { 200: json(SecretPage, "One page, without values."), ...FAILURES },
});

const remove = createRoute({
  method: "delete",
  path: "/v1/secrets/{name}",
  summary: "Remove a secret; runs that wait for it are rejected when they start (operators)",
  request: { params: Params, query: Owner },
  responses: { 204: { description: "It is gone." }, 404: problem("There is no such secret."), ...FAILURES },
});

export function registerSecrets(app: OpenAPIHono<GatewayEnv>, secrets: SecretStore): void {
  app.openapi(set, async (c) => {
    const of = { ...c.req.valid("param"), ...c.req.valid("query") };
    return c.json(await secrets.set(of, c.req.valid("json").value), 200);
  });
  app.openapi(list, async (c) => c.json(await secrets.list(c.req.valid("query")), 200));
  app.openapi(remove, async (c) => {
    await secrets.remove({ ...c.req.valid("param"), ...c.req.valid("query") });
    return c.body(null, 204);
  });
}
