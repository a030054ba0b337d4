// Uploads of the caller's tenant, through the gateway.
//
//   const { id } = await mayfly.uploads.create(tar); // Bytes, or a stream of them.
//   await mayfly.run({ image: "busybox", command: ["ls", "/work"], upload: { id, path: "/work" } });
//   await mayfly.uploads.remove(id);

import { Upload, UploadPage } from "../core/uploads.ts";
import { pages } from "./access-client.ts";
import { parseAnswer } from "./answers.ts";
import { readJson, type Send } from "./http.ts";

interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

/** Every method throws ClientError, or the reason of an aborted signal. */
export interface UploadClient {
  /** A tar, plain or gzip; a stream is sent as it comes. It is never sent twice. */
  create(tar: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>, options?: CallOptions): Promise<Upload>;
  /** Newest first, a page at a time, all of them in the end. */
  list(options?: CallOptions): AsyncGenerator<Upload, void>;
  inspect(id: string, options?: CallOptions): Promise<Upload>;
  /** Runs that have named it keep it. */
  remove(id: string, options?: CallOptions): Promise<void>;
}

const PATH = "/v1/uploads";

export function createUploadClient(send: Send): UploadClient {
  const path = (id: string) => `${PATH}/${encodeURIComponent(id)}`;
  const ask = async (call: Parameters<Send>[0]) => parseAnswer(Upload, await readJson(await send(call)));
  return {
    create: (tar, { signal } = {}) =>
      ask({ method: "POST", path: PATH, headers: { "content-type": "application/x-tar" }, body: tar, signal }),
    list: async function* ({ signal } = {}) {
      yield* pages(async (cursor) => {
        const answer = await readJson(await send({ method: "GET", path: PATH, query: { cursor }, signal }));
        const page = parseAnswer(UploadPage, answer);
        return { items: page.uploads, next: page.next };
      });
    },
    inspect: (id, { signal } = {}) => ask({ method: "GET", path: path(id), signal }),
    remove: async (id, { signal } = {}) => {
      const response = await send({ method: "DELETE", path: path(id), signal });
      await response.body?.cancel();
    },
  };
}
