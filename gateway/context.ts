// What a request carries from the middleware to its route.

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
    /** Whether the key is an operator's; without keys everybody is one. */
    isOperator: boolean;
    /** The run that the request is about, for the log. */
    run: string;
    /** Of the request; what is done for it continues its trace. */
    span: Span;
  };
}
