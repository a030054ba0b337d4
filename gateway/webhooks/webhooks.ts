// What routes and deliverer have in common: where webhooks may go, what they are signed with, and how far they are.

import { ALLOW_NOTHING, type AllowList } from "./allow-list.ts";
import { Destinations } from "./destinations.ts";
import { Outbox, type RunScript } from "./outbox.ts";
import { Secrets } from "./secrets.ts";

export interface Webhooks {
  readonly outbox: Outbox;
  readonly secrets: Secrets;
  readonly destinations: Destinations;
}

/** What an attempt may take besides its request: three commands of Redis, of which each has 5 s. */
const LEASE_MARGIN_MS = 30_000;

/** `timeoutMs` is that of a request. */
export function createWebhooks(
  run: RunScript,
  { allow, timeoutMs }: { allow?: AllowList | undefined; timeoutMs: number },
): Webhooks {
  return {
    outbox: new Outbox(run, timeoutMs + LEASE_MARGIN_MS),
    secrets: new Secrets(run),
    destinations: new Destinations(allow ?? ALLOW_NOTHING),
  };
}
