// API keys and tenants, through the gateway. All of it wants a key with the scope `admin`.
//
//   const { key } = await mayfly.keys.create({ tenant: "acme", name: "nightly", scopes: ["submit", "read"] });

import { type ApiKey, KeyPage, MadeKey, type NewKey } from "../core/api-key.ts";
import { Tenant, type TenantChange, TenantPage } from "../core/tenant.ts";
import { parseAnswer } from "./answers.ts";
import { type Call, readJson, type Send } from "./http.ts";

interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

/** Every method throws ClientError, or the reason of an aborted signal. */
export interface KeyClient {
  /** The only answer with the key in it, but for those of `rotate`. */
  create(key: NewKey, options?: CallOptions): Promise<MadeKey>;
  /** Of all tenants, or of one; a page at a time, all of them in the end. */
  list(options?: CallOptions & { tenant?: string | undefined }): AsyncGenerator<ApiKey, void>;
  /** `overlap` is a duration, in which the key from before is good as well: a day without it. */
  rotate(id: string, options?: CallOptions & { overlap?: string | undefined }): Promise<MadeKey>;
  revoke(id: string, options?: CallOptions): Promise<void>;
}

export interface TenantClient {
  /** Those that have settings or keys in Redis; a page at a time, all of them in the end. */
  list(options?: CallOptions): AsyncGenerator<Tenant, void>;
  inspect(name: string, options?: CallOptions): Promise<Tenant>;
  /** What is not named stays; null takes a quota away. */
  set(name: string, change: TenantChange, options?: CallOptions): Promise<Tenant>;
}

const KEYS = "/v1/keys";
const TENANTS = "/v1/tenants";

export function createKeyClient(send: Send): KeyClient {
  const ask = async (call: Call): Promise<unknown> => readJson(await send(call));
  return {
    create: async (key, { signal } = {}) => parseAnswer(MadeKey, await ask(told("POST", KEYS, { body: key, signal }))),
    list: async function* ({ tenant, signal } = {}) {
      yield* pages(async (cursor) => {
        const page = parseAnswer(KeyPage, await ask({ method: "GET", path: KEYS, query: { tenant, cursor }, signal }));
        return { items: page.keys, next: page.next };
      });
    },
    rotate: async (id, { overlap, signal } = {}) => {
      const path = `${KEYS}/${encodeURIComponent(id)}/rotate`;
      return parseAnswer(
        MadeKey,
        await ask(told("POST", path, { body: overlap === undefined ? {} : { overlap }, signal })),
      );
    },
    revoke: async (id, { signal } = {}) => {
      const response = await send({ method: "DELETE", path: `${KEYS}/${encodeURIComponent(id)}`, signal });
      await response.body?.cancel();
    },
  };
}

export function createTenantClient(send: Send): TenantClient {
  const ask = async (call: Call): Promise<Tenant> => parseAnswer(Tenant, await readJson(await send(call)));
  const path = (name: string) => `${TENANTS}/${encodeURIComponent(name)}`;
  return {
    list: async function* ({ signal } = {}) {
      yield* pages(async (cursor) => {
        const answer = await readJson(await send({ method: "GET", path: TENANTS, query: { cursor }, signal }));
        const page = parseAnswer(TenantPage, answer);
        return { items: page.tenants, next: page.next };
      });
    },
    inspect: (name, { signal } = {}) => ask({ method: "GET", path: path(name), signal }),
    set: (name, change, { signal } = {}) => ask(told("PATCH", path(name), { body: change, signal })),
  };
}

export function told(method: "POST" | "PATCH", path: string, { body, signal }: CallOptions & { body: object }): Call {
  return { method, path, headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal };
}

type Page<T> = { readonly items: readonly T[]; readonly next: string | undefined };

export async function* pages<T>(read: (cursor: string | undefined) => Promise<Page<T>>): AsyncGenerator<T, void> {
  let cursor: string | undefined;
  do {
    const { items, next } = await read(cursor);
    yield* items;
    cursor = next;
  } while (cursor !== undefined);
}
