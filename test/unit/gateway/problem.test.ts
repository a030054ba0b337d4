import { Hono } from "hono";
import { expect, test } from "vitest";
import { type ErrorReason, MayflyError, REASONS } from "../../../core/errors.ts";
import { answerProblem, toProblem } from "../../../gateway/problem.ts";
import { ProblemSchema } from "../../../gateway/routes/schemas.ts";

const STATUS: Record<ErrorReason, number> = {
  invalid_field: 400,
  malformed_body: 400,
  unsupported_media_type: 415,
  upload_invalid: 400,
  upload_not_found: 404,
  body_too_large: 413,
  range_not_satisfiable: 416,
  invalid_reference: 400,
  key_missing: 401,
  key_unknown: 401,
  origin_refused: 403,
  scope_missing: 403,
  image_access_denied: 403,
  route_not_found: 404,
  run_not_found: 404,
  artifact_not_found: 404,
  batch_not_found: 404,
  batch_closed: 409,
  batch_too_large: 409,
  too_many_batches: 429,
  key_not_found: 404,
  secret_not_found: 404,
  secret_unreadable: 409,
  secrets_disabled: 409,
  too_many_secrets: 409,
  schedule_not_found: 404,
  schedule_exists: 409,
  too_many_schedules: 409,
  host_not_found: 404,
  image_not_found: 404,
  image_not_present: 404,
  image_not_allowed: 403,
  image_in_use: 409,
  image_unsupported: 409,
  stdin_closed: 409,
  run_not_running: 409,
  no_terminal: 409,
  quota_exceeded: 429,
  no_host_large_enough: 409,
  idempotency_conflict: 409,
  key_expired: 409,
  too_many_keys: 409,
  rate_limited: 429,
  run_not_finished: 409,
  dead_letter_not_found: 404,
  webhook_not_found: 404,
  queue_full: 429,
  too_many_waiters: 429,
  queue_unavailable: 503,
  registry_unavailable: 503,
  host_unavailable: 503,
  image_corrupt: 502,
  not_implemented: 501,
  configuration_invalid: 409,
  bug: 500,
};

const reasons = Object.keys(REASONS) as ErrorReason[];

const answer = (reason: ErrorReason) =>
  new Hono().get("/", (c) => answerProblem(c, toProblem(new MayflyError(reason, "why")))).request("/");

test.each(reasons)("%s has a status, a title and the shape that is documented", async (reason) => {
  const response = await answer(reason);
  expect(response.status).toBe(STATUS[reason]);
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  const problem = await response.json();
  expect(ProblemSchema.strict().safeParse(problem).error).toBeUndefined();
  expect(problem).toMatchObject({ reason, status: STATUS[reason], title: REASONS[reason].says });
});

test.each(reasons)("%s says when to come back if that helps, and how to authenticate if that does", async (reason) => {
  const { status, headers } = await answer(reason);
  expect(headers.has("retry-after")).toBe(status === 429 || status === 503);
  expect(headers.has("www-authenticate")).toBe(status === 401);
});

test("nothing is told of a body that is not sent", async () => {
  const app = new Hono().get("/:reason", (c) => {
    for (const name of ["content-length", "content-disposition", "content-range", "etag", "last-modified"])
      c.header(name, "1");
    return answerProblem(c, toProblem(new MayflyError(c.req.param("reason") as ErrorReason, "why")));
  });
  const left = async (reason: ErrorReason) =>
    [...(await app.request(`/${reason}`)).headers.keys()].filter((name) => name !== "retry-after");
  expect(await left("queue_unavailable")).toEqual(["content-type"]);
  expect(await left("range_not_satisfiable")).toEqual(["content-range", "content-type"]);
});

test("the message of an internal fault stays inside", () => {
  expect(JSON.stringify(toProblem(new MayflyError("bug", "/etc/secret: ENOENT")))).not.toContain("secret");
});

test("details and cause are for the log, and never in the answer", () => {
  const error = new MayflyError("queue_unavailable", "Redis does not answer", {
    details: { url: "redis://:hunter2@db" },
    cause: new Error("connect to hunter2"),
  });
  expect(JSON.stringify(toProblem(error))).not.toContain("hunter2");
});
