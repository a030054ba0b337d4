// Webhooks as they cross HTTP: what is asked for, what is delivered, and what is told of deliveries. The form of a delivery is that of
// Standard Webhooks (https://www.standardwebhooks.com): a message has an id that it keeps over all attempts, and is signed.

import { z } from "zod";
import { Run, StreamFacts } from "./run.ts";

/** Long enough for a token in it; a URL that is longer is refused by many servers, too. */
export const MAX_WEBHOOK_URL = 2048;

/** What is wrong with a URL wherever it leads. Which hosts may be sent to is the operator's to say, and the gateway's to check. */
function faultOf(text: string): string | undefined {
  const url = URL.parse(text);
  if (!url) return "is not a URL";
  if (url.protocol !== "https:" && url.protocol !== "http:") return "is not a URL of https";
  if (url.username !== "" || url.password !== "") return "must not have credentials; what is sent is signed";
  return url.hash === "" ? undefined : "must not have a fragment: it would not be sent";
}

export const Webhook = z
  .strictObject({
    url: z
      .string()
      .max(MAX_WEBHOOK_URL)
      .superRefine((text, context) => {
        const message = faultOf(text);
        if (message !== undefined) context.addIssue({ code: "custom", message });
      })
      .meta({
        description: `Of https, at most ${MAX_WEBHOOK_URL} characters; http, and addresses of private networks, only where the operator allows them.`,
        example: "https://example.com/hooks/mayfly",
      }),
  })
  .meta({ id: "Webhook", description: "Where a `run.finished` is sent once the run has finished, at least once." });

export type Webhook = z.infer<typeof Webhook>;

/** The body of a delivery. The program's output is not in it: it is to be had from the run. */
export const RunFinished = z
  .strictObject({
    type: z.literal("run.finished"),
    timestamp: z.string().meta({ description: "When the run finished." }),
    data: Run.extend({ stdout: StreamFacts.optional(), stderr: StreamFacts.optional() }),
  })
  .meta({ id: "RunFinished" });

export type RunFinished = z.infer<typeof RunFinished>;

/** Why there was no answer: closed, and nothing of what a name leads to in the operator's network. */
export const DELIVERY_FAULTS = {
  address_refused: "The URL leads to an address that webhooks may not be sent to.",
  name_unknown: "The host's name leads nowhere, or no name server answers.",
  timed_out: "The answer took too long.",
  tls_failed: "The host's certificate is not trusted, or TLS failed.",
  unreachable: "The connection was refused, or broke.",
  answer_invalid: "The answer is not HTTP.",
} as const;

export type DeliveryFault = keyof typeof DELIVERY_FAULTS;
const faults = Object.keys(DELIVERY_FAULTS) as [DeliveryFault, ...DeliveryFault[]];

export const DeliveryAttempt = z.strictObject({
  attempt: z.int(),
  at: z.string(),
  ms: z
    .number()
    .optional()
    .meta({ description: "How long it took. Missing while it goes on, or if its gateway died." }),
  status: z.int().optional().meta({ description: "The answer's." }),
  fault: z.enum(faults).optional().meta({ description: "Why there was no answer." }),
});

export type DeliveryAttempt = z.infer<typeof DeliveryAttempt>;

export const Deliveries = z
  .strictObject({
    id: z.string().meta({ description: "The header `webhook-id` of each attempt." }),
    url: z.string(),
    state: z
      .enum(["waiting", "pending", "delivered", "failed"])
      .meta({ description: "waiting: for the run's end. pending: for the next attempt, or its answer." }),
    nextAttemptAt: z.string().optional().meta({ description: "Not before; missing while an attempt is under way." }),
    attempts: z.array(DeliveryAttempt).meta({ description: "The latest ones, the oldest first." }),
  })
  .meta({ id: "Deliveries" });

export type Deliveries = z.infer<typeof Deliveries>;

const secret = z.string().meta({ description: "`whsec_` and the key in base 64.", example: "whsec_…" });

export const WebhookSecret = z
  .strictObject({
    secret,
    previous: z
      .array(z.strictObject({ secret, until: z.string() }))
      .meta({ description: "Those that were replaced and still sign, too; the latest first." }),
  })
  .meta({ id: "WebhookSecret", description: "What the tenant's deliveries are signed with." });

export type WebhookSecret = z.infer<typeof WebhookSecret>;
