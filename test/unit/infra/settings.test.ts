import { describe, expect, it } from "vitest";
import { GATEWAY_SETTINGS } from "../../../gateway/config.ts";
import {
  durationMs,
  environmentOf,
  GATEWAY_VARIABLES,
  refuseUnknown,
  WORKER_VARIABLES,
} from "../../../infra/settings.ts";
import { WORKER_SETTINGS } from "../../../worker/config.ts";

const variablesOf = (table: Record<string, { variable: string }>) =>
  Object.values(table).map(({ variable }) => variable);

describe("what a stack's processes are given", () => {
  it("is every setting of the gateway, but the Redis that is the stack's own", () => {
    expect([...GATEWAY_VARIABLES, "MAYFLY_REDIS_URL_FILE"].sort()).toEqual(variablesOf(GATEWAY_SETTINGS).sort());
  });

  it("is every setting of the worker, but the Redis and the directory that are the stack's own", () => {
    const own = ["MAYFLY_REDIS_URL_FILE", "MAYFLY_STATE_DIR"];
    expect([...WORKER_VARIABLES, ...own].sort()).toEqual(variablesOf(WORKER_SETTINGS).sort());
  });

  it("has none of the caller's variables that the process does not know, and all that are not Mayfly's", () => {
    const env = {
      MAYFLY_SLOTS: "3",
      MAYFLY_LISTEN_PORT: "1",
      MAYFLY_STATE_DIR: "/x",
      npm_config_x: "1",
      TZ: "UTC",
      GONE: undefined,
    };
    expect(environmentOf(WORKER_VARIABLES, env, { MAYFLY_STATE_DIR: "/y" })).toEqual({
      MAYFLY_SLOTS: "3",
      MAYFLY_STATE_DIR: "/y",
      TZ: "UTC",
    });
  });

  it("refuses a variable that nobody knows, by name", () => {
    expect(() => refuseUnknown({ MAYFLY_SLOTS: "1", MAYFLY_STATE_DIR: "/x", MAYFLY_URL: "http://x" })).not.toThrow();
    expect(() => refuseUnknown({ MAYFLY_SLOT: "1", MAYFLY_REDIS_URL_FILE: "/x" })).toThrow(
      "MAYFLY_SLOT, MAYFLY_REDIS_URL_FILE",
    );
  });

  it("reads how long the worker may drain", () => {
    expect(durationMs("1m30s")).toBe(90_000);
    expect(durationMs("500ms")).toBe(500);
    expect(durationMs("soon")).toBe(0);
  });
});
