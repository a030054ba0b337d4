// Where else than in the registry a blob may be had: at the other hosts of the cluster. Who they are is not the runtime's to know.

import type { Digest } from "../content/digest.ts";

/** A blob as it comes. */
export type Bytes = AsyncIterable<Uint8Array>;

export interface Peers {
  /**
   * The blob from a host that has it. If none has, and another is fetching it from the registry, waits for that one, in bounds;
   * else answers what `fromRegistry` gives, as the one host of the cluster that asks there.
   * What comes from a peer is verified like anything else, by whoever reads it; a peer that fails in the middle is
   * `registry_unavailable` with its name as `details.peer`, and is not asked for this blob again for a while.
   */
  open(digest: Digest, signal: AbortSignal, fromRegistry: (signal: AbortSignal) => Promise<Bytes>): Promise<Bytes>;
  /** This host has the blobs from now on and will send them to who asks. Never rejects: it is a hint. */
  gained(digests: readonly Digest[]): Promise<void>;
  /** This host has them no more. Never rejects. */
  lost(digests: readonly Digest[]): Promise<void>;
}
