// Bytes as they come, as numbered lines: of what is not a whole line yet no more is held than a line may have.

/** Without bytes if it was longer than a line may be. Numbers count from 1. */
export interface Line {
  readonly number: number;
  readonly bytes: Buffer | undefined;
}

const NEW_LINE = 0x0a;

/** With each piece that comes, the lines that are whole then: nothing waits for what has not come. The last needs no end. */
export async function* readLineGroups(
  pieces: AsyncIterable<Uint8Array>,
  { after, maxBytes }: { after: number; maxBytes: number },
): AsyncGenerator<Line[], void> {
  let number = after;
  let rest: Buffer[] = [];
  let restBytes = 0;
  const add = (bytes: Buffer) => {
    restBytes += bytes.length;
    if (restBytes <= maxBytes) rest.push(bytes);
    else rest = [];
  };
  const take = (): Line => {
    const bytes = restBytes > maxBytes ? undefined : Buffer.concat(rest);
    rest = [];
    restBytes = 0;
    return { number: ++number, bytes };
  };
  for await (const piece of pieces) {
    const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
    const lines: Line[] = [];
    let start = 0;
    for (let end = bytes.indexOf(NEW_LINE); end !== -1; end = bytes.indexOf(NEW_LINE, start)) {
      add(bytes.subarray(start, end));
      lines.push(take());
      start = end + 1;
    }
    // A copy: the piece may be large, and what is left of it small.
    if (start < bytes.length) add(Buffer.from(bytes.subarray(start)));
    if (lines.length > 0) yield lines;
  }
  if (restBytes > 0) yield [take()];
}
