// Sizes as docker's users write them (`256m`), turned into Mayfly's form (`256MiB`).

import { formatSize, parseSize } from "../core/units.ts";

const BINARY = { b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 } as const;

export const DOCKER_SIZE_FORM = 'a size such as "256MiB", or docker\'s "256m" or "1g"';

/**
 * Mayfly's own forms are kept as they are, so `256MB` is decimal here as in the API. One letter in either case is docker's and
 * binary: `1.5g` → `1536MiB`; a bare number is bytes, and parts of a byte are dropped, as docker does. Undefined for anything
 * else; that includes `256mb`, which docker takes as binary and which is too near to `256MB` to be guessed at.
 */
export function parseDockerSize(text: string): string | undefined {
  if (parseSize(text) !== undefined) return text;
  const match = /^(\d{1,15}(?:\.\d{1,6})?)([bkmgt]?)$/i.exec(text);
  if (!match) return undefined;
  const unit = (match[2] || "b").toLowerCase() as keyof typeof BINARY;
  const bytes = Math.floor(Number(match[1]) * BINARY[unit]);
  return Number.isSafeInteger(bytes) ? formatSize(bytes) : undefined;
}
