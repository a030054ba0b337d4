// Which bytes of a blob are asked for: one range of RFC 9110, section 14. Pure.

export interface ByteRange {
  readonly start: number;
  /** Inclusive, as HTTP has it. */
  readonly end: number;
}

/**
 * The range of `bytes=0-99`, `bytes=100-` or `bytes=-100` in a body of `size` bytes; "none" if nothing of it is there. Undefined, and so
 * the whole body, without a header and for what a server may pass over: other units, several ranges, what cannot be read.
 */
export function parseRange(header: string | undefined, size: number): ByteRange | "none" | undefined {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? "");
  const [, first = "", last = ""] = match ?? [];
  if (first === "" && last === "") return undefined;
  if (first === "") return suffix(Number(last), size);
  const start = Number(first);
  const end = last === "" ? size - 1 : Math.min(Number(last), size - 1);
  if (last !== "" && Number(last) < start) return undefined;
  return start < size ? { start, end } : "none";
}

function suffix(length: number, size: number): ByteRange | "none" {
  if (length === 0 || size === 0) return "none";
  return { start: Math.max(0, size - length), end: size - 1 };
}
