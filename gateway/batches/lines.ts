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
  const rest = new Rest(maxBytes);
  for await (const piece of pieces) {
    const bytes = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
    const lines: Line[] = [];
    let start = 0;
    for (let end = bytes.indexOf(NEW_LINE); end !== -1; end = bytes.indexOf(NEW_LINE, start)) {
      rest.add(bytes.subarray(start, end));
      lines.push({ number: ++number, bytes: rest.take() });
      start = end + 1;
    }
    rest.add(bytes.subarray(start));
    if (lines.length > 0) yield lines;
  }
  if (!rest.isEmpty) yield [{ number: ++number, bytes: rest.take() }];
}

/** What the room of a line begins with that comes in more than one piece. */
const LEAST_BYTES = 256;

/**
 * What there is of a line that is not whole yet, in one buffer that doubles: a sender may send byte by byte, and a list of such pieces would be
 * a hundred times as large as what is in them.
 */
export class Rest {
  readonly #maxBytes: number;
  #bytes = Buffer.alloc(0);
  /** Of the line, also where it has become too long to be held. */
  #length = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get isEmpty(): boolean {
    return this.#length === 0;
  }

  /** Bytes of memory: less than twice the line's, or LEAST_BYTES. */
  get held(): number {
    return this.#bytes.length;
  }

  /** Copies: the piece may be large, and this little of it. */
  add(piece: Uint8Array): void {
    const before = this.#length;
    this.#length += piece.length;
    if (this.#length > this.#maxBytes) this.#bytes = Buffer.alloc(0);
    else {
      if (this.#length > this.#bytes.length) this.#grow(before);
      this.#bytes.set(piece, before);
    }
  }

  /** The line, and room for the next; undefined if it was too long. */
  take(): Buffer | undefined {
    const line = this.#length > this.#maxBytes ? undefined : this.#bytes.subarray(0, this.#length);
    this.#bytes = Buffer.alloc(0);
    this.#length = 0;
    return line;
  }

  #grow(filled: number): void {
    // One that comes in one piece has no more room than it needs.
    const room = filled === 0 ? 0 : Math.min(this.#maxBytes, Math.max(LEAST_BYTES, 2 * this.#bytes.length));
    const size = Math.max(this.#length, room);
    const larger = Buffer.allocUnsafe(size);
    this.#bytes.copy(larger, 0, 0, filled);
    this.#bytes = larger;
  }
}
