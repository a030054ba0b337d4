// What runs have left, through the gateway.

import { ArtifactList, isArtifactName } from "../core/artifacts.ts";
import { parseAnswer } from "./answers.ts";
import { chunksOf } from "./body.ts";
import { ClientError, unreachable } from "./client-error.ts";
import { readJson, type Send } from "./http.ts";

interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

/** Of a run that has finished. Every method throws ClientError, or the reason of an aborted signal. */
export interface ArtifactClient {
  list(id: string, options?: CallOptions): Promise<ArtifactList>;
  /** The bytes of one file, by its path in the container. */
  read(id: string, path: string, options?: CallOptions): Promise<Uint8Array<ArrayBuffer>>;
  /** All of them as a tar, as it comes. It throws in the middle if it breaks off. */
  tar(id: string, options?: CallOptions): AsyncGenerator<Uint8Array, void>;
}

export function createArtifactClient(send: Send): ArtifactClient {
  const base = (id: string) => `/v1/runs/${encodeURIComponent(id)}/artifacts`;
  return {
    list: async (id, { signal } = {}) =>
      parseAnswer(ArtifactList, await readJson(await send({ method: "GET", path: base(id), signal }))),
    read: async (id, path, { signal } = {}) => {
      const headers = { accept: "application/octet-stream" };
      const response = await send({ method: "GET", path: `${base(id)}/${inUrl(path)}`, headers, signal });
      try {
        return new Uint8Array(await response.arrayBuffer());
      } catch (error) {
        signal?.throwIfAborted();
        throw unreachable(response.url, error);
      }
    },
    tar: async function* (id, { signal } = {}) {
      const headers = { accept: "application/x-tar, application/problem+json" };
      yield* chunksOf(await send({ method: "GET", path: base(id), headers, signal }));
    },
  };
}

/** A path with `..` in it would lead to another call. No artifact has one. */
function inUrl(path: string): string {
  const name = path.replace(/^\//, "");
  if (isArtifactName(name)) return name.split("/").map(encodeURIComponent).join("/");
  const detail = `${JSON.stringify(path)} is the path of no artifact`;
  throw new ClientError({ code: "not_found", reason: "artifact_not_found", detail });
}
