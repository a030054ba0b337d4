// Webhooks, through the gateway: what came of telling, once more, and what it is signed with.
//
//   const { state, attempts } = await mayfly.webhooks.deliveries(run.id);

import { Deliveries, WebhookSecret } from "../core/webhook.ts";
import { parseAnswer } from "./answers.ts";
import { type Call, readJson, type Send } from "./http.ts";

interface Options {
  readonly signal?: AbortSignal | undefined;
}

/** Every method throws ClientError, or the reason of an aborted signal. */
export interface WebhookClient {
  /** Of a run that was made with a webhook. */
  deliveries(id: string, options?: Options): Promise<Deliveries>;
  /** Has it told once more. Resolves when it is due, not when it is told. */
  retry(id: string, options?: Options): Promise<Deliveries>;
  /** What the receiver checks signatures with. */
  secret(options?: Options): Promise<WebhookSecret>;
  /** The secret before signs beside the new one for a day. */
  rotateSecret(options?: Options): Promise<WebhookSecret>;
}

export function createWebhookClient(send: Send): WebhookClient {
  const ask = async (method: Call["method"], path: string, { signal }: Options = {}) =>
    readJson(await send({ method, path, signal }));
  const pathOf = (id: string) => `/v1/runs/${encodeURIComponent(id)}/deliveries`;
  return {
    deliveries: async (id, options) => parseAnswer(Deliveries, await ask("GET", pathOf(id), options)),
    retry: async (id, options) => parseAnswer(Deliveries, await ask("POST", `${pathOf(id)}/retry`, options)),
    secret: async (options) => parseAnswer(WebhookSecret, await ask("GET", "/v1/webhooks/secret", options)),
    rotateSecret: async (options) =>
      parseAnswer(WebhookSecret, await ask("POST", "/v1/webhooks/secret/rotate", options)),
  };
}
