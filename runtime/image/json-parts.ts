// How much a JSON parser would have to do, told without parsing. Of a few megabytes it can make a million small objects, and nothing
// else happens in the process until it is done: not even the leases of other runs are renewed.

/** Marks between values. A tenth of a second of parsing at the most; the largest index in use has some thousands. */
export const MAX_JSON_PARTS = 50_000;

const [QUOTE, BACKSLASH] = [0x22, 0x5c];
/** By a byte's value: 1 for a mark. A table, because megabytes are looked up in it. */
const MARKS = new Uint8Array(256);
for (const mark of Buffer.from("{[:,")) MARKS[mark] = 1;

/** Counts what stands outside of strings. What is no JSON is for the parser to refuse. */
export function hasTooManyParts(bytes: Uint8Array): boolean {
  if (bytes.length <= MAX_JSON_PARTS) return false;
  let parts = 0;
  let isInString = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === QUOTE) isInString = !isInString;
    else if (isInString && byte === BACKSLASH) at++;
    else if (!isInString) parts += MARKS[byte] ?? 0;
    if (parts > MAX_JSON_PARTS) return true;
  }
  return false;
}
