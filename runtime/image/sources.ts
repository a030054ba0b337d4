// Where the bytes of an image come from, as one thing: a registry, and around it what may be asked before, or instead.

import { isMayflyError, MayflyError } from "../../core/errors.ts";
import type { Digest } from "../content/digest.ts";
import { digestOf, isDigest } from "../content/digest.ts";
import type { ContentStore } from "../content/store.ts";
import { MAX_MANIFEST_BYTES, type RegistryClient } from "../registry/client.ts";
import type { Bytes, Peers } from "./peers.ts";
import type { Repository } from "./reference.ts";

/** A registry, or what stands in for one. See RegistryClient. */
export interface Source extends Omit<RegistryClient, "blob" | "distrust"> {
  blob(repository: Repository, blob: { digest: Digest; size: number }, signal: AbortSignal): Promise<Bytes>;
  distrust(blob: Bytes): boolean;
}

/**
 * The other hosts of the cluster are asked first for whatever has a digest. Small things that they send wrong, or not to their end, are
 * asked of the registry; with a blob, that is its reader's to do (`mayComeFrom`).
 */
export function withPeers(registry: Source, peers: Peers): Source {
  const small = async (digest: Digest, maxBytes: number, signal: AbortSignal, ask: () => Promise<Buffer>) => {
    const opened = await peers.open(digest, signal, async () => once(await ask()));
    const bytes = await wholeOf(opened, maxBytes).catch(() => signal.throwIfAborted());
    return bytes && digestOf(bytes) === digest ? bytes : ask();
  };
  return {
    ...registry,
    manifest: (repository, name, signal) => {
      const ask = () => registry.manifest(repository, name, signal);
      return isDigest(name) ? small(name, MAX_MANIFEST_BYTES, signal, ask) : ask();
    },
    smallBlob: (repository, digest, options) =>
      small(digest, options.maxBytes, options.signal, () => registry.smallBlob(repository, digest, options)),
    blob: (repository, blob, signal) =>
      peers.open(blob.digest, signal, (asking) => registry.blob(repository, blob, asking)),
  };
}

/** Whether the registry by itself may give what another source has failed with: one that lied, or a peer that broke off. */
export function mayComeFrom(registry: Source, source: Source, error: unknown): boolean {
  if (source === registry || !isMayflyError(error)) return false;
  return error.reason === "image_corrupt" || error.details.peer !== undefined;
}

/** Blobs that this host keeps are read from its disk: a layer may have gone while its blob stayed. */
export function withKept(source: Source, content: ContentStore): Source {
  return {
    ...source,
    blob: async (repository, blob, signal) =>
      (await content.open(blob.digest)) ?? (await source.blob(repository, blob, signal)),
  };
}

/** Has nothing: what is missing on this host stays missing. */
export function nowhere(reference: string): Source {
  const refuse = () => Promise.reject(notPresent(reference));
  return { resolve: refuse, manifest: refuse, smallBlob: refuse, blob: refuse, distrust: () => false };
}

export function notPresent(reference: string): MayflyError {
  return new MayflyError("image_not_present", `${reference} is not on this host`, { details: { reference } });
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

/** Undefined if there is more. */
async function wholeOf(bytes: Bytes, maxBytes: number): Promise<Buffer | undefined> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  for await (const chunk of bytes) {
    total += chunk.byteLength;
    if (total > maxBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
