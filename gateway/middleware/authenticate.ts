// Deny by default: every route wants a known key, but for those on a list.

import type { MiddlewareHandler } from "hono";
import { MayflyError } from "../../core/errors.ts";
import { ALL_SCOPES, type FindCaller } from "../api-keys.ts";
import type { GatewayEnv } from "../context.ts";
import { PUBLIC_ROUTES } from "../route-scopes.ts";

/** Of the one caller there is when there are no keys. */
export const DEFAULT_TENANT = "default";

export function authenticate(findCaller: FindCaller): MiddlewareHandler<GatewayEnv> {
  return async (c, next) => {
    if (PUBLIC_ROUTES.has(c.req.path)) return next();
    const [scheme, key] = c.req.header("authorization")?.split(" ") ?? [];
    if (scheme?.toLowerCase() !== "bearer" || !key)
      throw new MayflyError("key_missing", "send the key as `Authorization: Bearer KEY`");
    const found = findCaller(key);
    const caller = found instanceof Promise ? await found : found;
    if (!caller) throw new MayflyError("key_unknown", "no tenant has this key");
    c.set("tenant", caller.tenant);
    c.set("scopes", caller.scopes);
    if (caller.key !== undefined) c.set("key", caller.key);
    return next();
  };
}

const LOOPBACK_NAMES = /^(127(\.\d{1,3}){3}|localhost|\[::1\])(:\d{1,5})?$/;

/**
 * In place of keys, on loopback only: whoever is on this machine is the default tenant. But a web page in a browser on this
 * machine is not: it cannot help sending an Origin, and a name that was made to resolve to loopback stands in Host.
 */
export function trustLoopback(): MiddlewareHandler<GatewayEnv> {
  return async (c, next) => {
    const host = c.req.header("host") ?? "";
    const origin = c.req.header("origin");
    if (!LOOPBACK_NAMES.test(host))
      throw new MayflyError(
        "origin_refused",
        `Host is ${JSON.stringify(host)}; without keys the gateway answers to 127.0.0.1, localhost and [::1]`,
      );
    if (origin !== undefined && origin !== `http://${host}`)
      throw new MayflyError(
        "origin_refused",
        `a page of ${JSON.stringify(origin)} may not call a gateway without keys`,
      );
    c.set("tenant", DEFAULT_TENANT);
    c.set("scopes", ALL_SCOPES);
    return next();
  };
}
