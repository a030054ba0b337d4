// What a request carries from the middleware to its route.

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
  };
}
