// A range of bytes, as a request's head asks for it (RFC 9110, section 14).

import type { Slice } from "./dispatch/run-store.ts";

/** `bytes=0-99`, `bytes=100-`, `bytes=-100`. Undefined for what is not one such range: it is answered with everything. */
export function parseRange(text: string | undefined): Slice | undefined {
  const match = /^bytes=(\d{1,12})?-(\d{1,12})?$/.exec(text?.trim() ?? "");
  if (!match) return undefined;
  const [first, last] = [match[1], match[2]].map((digits) => (digits === undefined ? undefined : Number(digits)));
  if (first === undefined) return last === undefined ? undefined : { first, last };
  return last !== undefined && last < first ? undefined : { first, last };
}
