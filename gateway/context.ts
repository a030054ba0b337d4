// What a request carries from the middleware to its route.

import type { Scope } from "../core/api-key.ts";
import type { Span } from "../telemetry/tracing.ts";

export interface GatewayEnv {
  Variables: {
    requestId: string;
    /** On the monotonic clock. */
    startedMs: number;
    /** Its answer's Server-Timing, once there is one. */
    timing: string;
    /** Whose key it is. */
    tenant: string;
    /** What the key may do; without keys, everything. */
    scopes: ReadonlySet<Scope>;
    /** The key's id, for the log; a key of the gateway's file has none. */
    key: string;
    /** The run that the request is about, for the log. */
    run: string;
    /** Of the request; what is done for it continues its trace. */
    span: Span;
  };
}
