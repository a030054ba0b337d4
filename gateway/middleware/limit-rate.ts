// A tenant that has a rate is told at each answer how much of it is left, and refused when it is used up.
//
//   RateLimit-Policy: "requests";q=100;w=2      so many requests in so many seconds, in the long run
//   RateLimit: "requests";r=41;t=2              so many may come now; all of them again in t seconds
//
// Source: draft-ietf-httpapi-ratelimit-headers-10. Refused requests take nothing; those that fail for another reason do.

import type { MiddlewareHandler } from "hono";
import { MayflyError } from "../../core/errors.ts";
import type { GatewayEnv } from "../context.ts";
import type { Grant, TakeToken } from "../dispatch/rate-limits.ts";
import { answerProblem, toProblem } from "../problem.ts";
import { PUBLIC_ROUTES } from "../route-scopes.ts";

export function limitRate(take: TakeToken): MiddlewareHandler<GatewayEnv> {
  return async (c, next) => {
    if (PUBLIC_ROUTES.has(c.req.path)) return next(); // Nobody's; and a probe must be answered also without Redis.
    const tenant = c.get("tenant");
    const grant = await take(tenant);
    if (!grant) return next();
    const { policy, limit, retryAfterSeconds } = describeGrant(grant);
    c.header("ratelimit-policy", policy);
    c.header("ratelimit", limit);
    if (grant.granted) return next();
    const message = `${tenant} may make ${grant.rate} requests a second, and ${grant.burst} at once`;
    return answerProblem(c, toProblem(new MayflyError("rate_limited", message)), retryAfterSeconds);
  };
}

/** What the fields say; whole seconds, rounded so that who waits for them does not come too early. */
export function describeGrant({ rate, burst, tokens }: Grant): {
  policy: string;
  limit: string;
  retryAfterSeconds: number;
} {
  const window = Math.max(1, Math.ceil(burst / rate));
  const full = Math.ceil((burst - tokens) / rate);
  const next = Math.max(1, Math.ceil((1 - tokens) / rate));
  const left = Math.floor(tokens);
  return {
    policy: `"requests";q=${Math.floor(rate * window)};w=${window}`,
    limit: `"requests";r=${left};t=${left > 0 ? full : next}`,
    retryAfterSeconds: next,
  };
}
