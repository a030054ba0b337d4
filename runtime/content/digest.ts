// Digests as OCI writes them (image-spec, descriptor.md): the name of content is what its bytes hash to.

import { createHash } from "node:crypto";

/** `sha256:` and 64 hexadecimal digits, in lower case. The only algorithm that Mayfly reads; images in use know no other. */
export type Digest = `sha256:${string}`;

const DIGEST = /^sha256:[0-9a-f]{64}$/;

export function isDigest(text: string): text is Digest {
  return DIGEST.test(text);
}

export function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** The 64 digits: safe as the name of a file. */
export function hexOf(digest: Digest): string {
  return digest.slice("sha256:".length);
}
