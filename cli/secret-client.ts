// Secrets, through the gateway. All of it wants a key with the scope `admin`; no value is ever told.

import { Secret, SecretPage } from "../core/secret.ts";
import { pages } from "./access-client.ts";
import { parseAnswer } from "./answers.ts";
import { readJson, type Send } from "./http.ts";

interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** Whose runs may have it; all tenants' without it. */
  readonly tenant?: string | undefined;
}

/** Every method throws ClientError, or the reason of an aborted signal. */
export interface SecretClient {
  set(name: string, value: string, options?: CallOptions): Promise<Secret>;
  /** Names, a page at a time, all of them in the end; of one tenant, or of all. */
  list(options?: CallOptions): AsyncGenerator<Secret, void>;
  remove(name: string, options?: CallOptions): Promise<void>;
}

const PATH = "/v1/secrets";

export function createSecretClient(send: Send): SecretClient {
  const path = (name: string) => `${PATH}/${encodeURIComponent(name)}`;
  return {
    set: async (name, value, { signal, tenant } = {}) => {
      const headers = { "content-type": "application/json" };
      const body = JSON.stringify({ value });
      const call = { method: "PUT", path: path(name), query: { tenant }, headers, body, signal } as const;
      return parseAnswer(Secret, await readJson(await send(call)));
    },
    list: async function* ({ signal, tenant } = {}) {
      yield* pages(async (cursor) => {
        const answer = await readJson(await send({ method: "GET", path: PATH, query: { cursor, tenant }, signal }));
        const page = parseAnswer(SecretPage, answer);
        return { items: page.secrets, next: page.next };
      });
    },
    remove: async (name, { signal, tenant } = {}) => {
      const response = await send({ method: "DELETE", path: path(name), query: { tenant }, signal });
      await response.body?.cancel();
    },
  };
}
