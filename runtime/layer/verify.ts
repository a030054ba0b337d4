// The checks that a layer streams through: compressed size and digest, then the DiffID of what is inside.

import { createHash } from "node:crypto";
import { pipeline, type Readable, Transform } from "node:stream";
import { createGunzip } from "node:zlib";
import { MayflyError } from "../../core/errors.ts";
import type { Digest } from "../content/digest.ts";

/** What a manifest and a config say of one layer. */
export interface LayerDescriptor {
  /** Digest of the bytes in the registry. */
  readonly digest: Digest;
  /** Their number. */
  readonly size: number;
  readonly compression: "gzip" | "none";
  /** Digest of the uncompressed tar stream. */
  readonly diffId: Digest;
}

/** Large enough that the work a chunk costs Node does not count beside hashing it. */
const GUNZIP_CHUNK_BYTES = 256 * 1024;

/**
 * The tar stream of a layer's blob. It ends only when everything about it was right: the blob's size and digest and
 * the DiffID; otherwise it fails with `image_corrupt`, or with the blob's own error. Destroying it ends the blob.
 */
export function verifiedTar(blob: AsyncIterable<Uint8Array>, layer: LayerDescriptor): Readable {
  const compressed = checked("layer", { expected: layer.digest, size: layer.size });
  const tar = checked("uncompressed layer", { expected: layer.diffId });
  const ignored = () => {}; // The last stream carries the error to its reader.
  if (layer.compression === "none") return pipeline(blob, compressed, tar, ignored);
  return pipeline(blob, compressed, createGunzip({ chunkSize: GUNZIP_CHUNK_BYTES }), tar, ignored);
}

/** Passes bytes on and counts and hashes them; too many fail at once, too few or others at the end. */
function checked(what: string, { expected, size }: { expected: Digest; size?: number }): Transform {
  const hash = createHash("sha256");
  let total = 0;
  return new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      total += chunk.byteLength;
      if (size !== undefined && total > size) return done(wrongSize(expected, size));
      hash.update(chunk);
      done(null, chunk);
    },
    flush(done) {
      if (size !== undefined && total !== size) return done(wrongSize(expected, size));
      const actual = `sha256:${hash.digest("hex")}`;
      done(actual === expected ? null : wrongDigest(what, expected, actual));
    },
    destroy(error, done) {
      done(isZlibError(error) ? notGzip(what, error) : error);
    },
  });
}

function isZlibError(error: unknown): error is Error {
  return error instanceof Error && "code" in error && String(error.code).startsWith("Z_");
}

function notGzip(what: string, cause: Error): MayflyError {
  return new MayflyError("image_corrupt", `${what} is not gzip: ${cause.message}`, { cause });
}

function wrongSize(digest: Digest, size: number): MayflyError {
  return new MayflyError("image_corrupt", `layer ${digest} does not have ${size} bytes`, { details: { digest, size } });
}

function wrongDigest(what: string, expected: Digest, actual: string): MayflyError {
  return new MayflyError("image_corrupt", `${what} has digest ${actual}, not ${expected}`, {
    details: { expected, actual },
  });
}
