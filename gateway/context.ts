// What a request carries from the middleware to its route.

export interface GatewayEnv {
  Variables: {
    requestId: string;
    /** Whose key it is. */
    tenant: string;
    /** The run that the request is about, for the log. */
    run: string;
  };
}
