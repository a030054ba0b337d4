// The gateway as a function from request to answer. It opens nothing: what it needs is handed in, so that a test can call
// `app.request` with a store of its own.

import { OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import { HTTPException } from "hono/http-exception";
import { requestId } from "hono/request-id";
import type { ZodError } from "zod";
import { MayflyError, toMayflyError } from "../core/errors.ts";
import { describeIssues } from "../core/issues.ts";
import type { Log } from "../core/log.ts";
import { VERSION } from "../core/version.ts";
import { type Telemetry, untold } from "../telemetry/telemetry.ts";
import type { FindCaller } from "./api-keys.ts";
import type { Batches } from "./batches/batches.ts";
import type { GatewayEnv } from "./context.ts";
import type { Access } from "./dispatch/access.ts";
import type { Dispatcher } from "./dispatch/dispatcher.ts";
import type { Duties } from "./dispatch/duties.ts";
import type { Hosts } from "./dispatch/hosts.ts";
import type { TakeToken } from "./dispatch/rate-limits.ts";
import type { Schedules } from "./dispatch/schedules.ts";
import type { SecretStore } from "./dispatch/secret-store.ts";
import type { UploadStore } from "./dispatch/upload-store.ts";
import { withoutKeys } from "./key-material.ts";
import { authenticate, trustLoopback } from "./middleware/authenticate.ts";
import { dropBody } from "./middleware/drop-body.ts";
import { limitBody } from "./middleware/limit-body.ts";
import { limitRate } from "./middleware/limit-rate.ts";
import { observe } from "./middleware/observe.ts";
import { requireJson } from "./middleware/require-json.ts";
import { requireScope } from "./middleware/require-scope.ts";
import { wideEvent } from "./middleware/wide-event.ts";
import { answerProblem, toProblem } from "./problem.ts";
import { describeScopes } from "./route-scopes.ts";
import { registerArtifacts } from "./routes/artifacts.ts";
import { registerBatches } from "./routes/batches.ts";
import { registerControl } from "./routes/control.ts";
import { registerDeadLetters } from "./routes/dead-letters.ts";
import { registerDocs } from "./routes/docs.ts";
import { registerEvents } from "./routes/events.ts";
import { registerHealth } from "./routes/health.ts";
import { registerHosts } from "./routes/hosts.ts";
import { registerImages } from "./routes/images.ts";
import { registerImageArchives } from "./routes/images-archives.ts";
import { registerImageStreams } from "./routes/images-streams.ts";
import { registerKeys } from "./routes/keys.ts";
import { registerLists } from "./routes/lists.ts";
import { registerMetrics } from "./routes/metrics.ts";
import { registerOutput } from "./routes/output.ts";
import { registerRaw } from "./routes/raw.ts";
import { registerRuns } from "./routes/runs.ts";
import { registerSchedules } from "./routes/schedules.ts";
import { registerSecrets } from "./routes/secrets.ts";
import { registerTenants } from "./routes/tenants.ts";
import { registerUploads } from "./routes/uploads.ts";
import { registerWebhooks } from "./routes/webhooks.ts";
import type { Webhooks } from "./webhooks/webhooks.ts";

export interface AppOptions {
  readonly dispatcher: Dispatcher;
  readonly hosts: Hosts;
  readonly access: {
    readonly keys: Access["keys"];
    readonly tenants: Access["tenants"];
    readonly limits: { readonly take: TakeToken };
  };
  readonly batches: Batches;
  readonly webhooks: Webhooks;
  readonly duties: Duties;
  readonly schedules: Schedules;
  readonly secrets: SecretStore;
  readonly uploads: UploadStore;
  /** Without it every caller on loopback is the default tenant. */
  readonly findCaller: FindCaller | undefined;
  readonly maxBodyBytes: number;
  readonly maxArchiveBytes: number;
  readonly maxStdinBytes: number;
  readonly maxUploadBytes: number;
  readonly log: Log;
  /** Without it nothing is traced, and what is counted is read by nobody else. */
  readonly telemetry?: Telemetry;
}

const DESCRIPTION = "Runs containers on demand: one call, one fresh container, exactly one recorded outcome.";

export function createApp(options: AppOptions): OpenAPIHono<GatewayEnv> {
  const {
    dispatcher,
    hosts,
    access,
    batches,
    webhooks,
    duties,
    schedules,
    secrets,
    uploads,
    findCaller,
    maxArchiveBytes,
    maxStdinBytes,
    maxUploadBytes,
    log,
    telemetry = untold(),
  } = options;
  const app = new OpenAPIHono<GatewayEnv>({
    defaultHook: (result, c) => {
      if (!result.success) return invalid(c, result.error);
    },
  });
  app.use(requestId());
  app.use(observe(telemetry));
  app.use(wideEvent(log));
  app.use(dropBody());
  app.use(findCaller ? authenticate(findCaller) : trustLoopback());
  app.use(limitRate(access.limits.take));
  app.use(requireScope());
  app.use(limitBody(options));
  app.use(requireJson());

  registerLists(app, dispatcher.store.lists);
  registerRuns(app, dispatcher, webhooks.destinations);
  registerRaw(app, dispatcher, maxStdinBytes);
  registerBatches(app, { batches, dispatcher, log });
  registerOutput(app, dispatcher);
  registerArtifacts(app, dispatcher);
  registerDeadLetters(app, dispatcher, webhooks.destinations);
  registerControl(app, dispatcher);
  registerEvents(app, dispatcher, log);
  registerWebhooks(app, dispatcher, webhooks);
  registerSchedules(app, schedules, webhooks.destinations);
  registerSecrets(app, secrets);
  registerUploads(app, uploads, { maxUploadBytes, enter: () => batches.enter() });
  registerHosts(app, hosts, duties);
  registerImages(app, hosts);
  registerImageStreams(app, hosts, log);
  registerImageArchives(app, hosts, { maxArchiveBytes, log });
  registerKeys(app, access.keys);
  registerTenants(app, access.tenants);
  registerHealth(app, dispatcher.store);
  registerMetrics(app, telemetry.metrics);
  app.openAPIRegistry.registerComponent("securitySchemes", "key", { type: "http", scheme: "bearer" });
  const document = () =>
    describeScopes(
      app.getOpenAPI31Document({
        openapi: "3.1.0",
        info: { title: "Mayfly", version: VERSION, description: DESCRIPTION },
        security: [{ key: [] }],
      }),
    );
  registerDocs(app, document);

  app.notFound((c) => {
    const error = new MayflyError("route_not_found", `there is no ${c.req.method} ${withoutKeys(c.req.path)}`);
    return answerProblem(c, toProblem(error));
  });
  app.onError((thrown, c) => {
    const error = asMayflyError(thrown);
    if (error.code === "internal") log.error("request.failed", { id: c.get("requestId"), error, stack: thrown.stack });
    const field = error.details.field;
    return answerProblem(
      c,
      toProblem(error, typeof field === "string" ? [{ field, message: error.message }] : undefined),
    );
  });
  return app;
}

/** What Hono itself refuses is a body that is not JSON. */
function asMayflyError(thrown: Error): MayflyError {
  if (!(thrown instanceof HTTPException)) return toMayflyError(thrown);
  if (thrown.status === 413) return new MayflyError("body_too_large", thrown.message);
  return new MayflyError(thrown.status < 500 ? "malformed_body" : "bug", thrown.message);
}

function invalid(c: Context, error: ZodError): Response {
  const errors = describeIssues(error, MAX_FIELD_ERRORS).map(({ path, message }) => ({
    field: path.join(".") || "body",
    message,
  }));
  const detail = errors.map(({ field, message }) => `${field} ${message}`).join("; ");
  return answerProblem(c, toProblem(new MayflyError("invalid_field", detail), errors));
}

/** So many are told at once; a body that has more is told the rest the next time. */
const MAX_FIELD_ERRORS = 20;
