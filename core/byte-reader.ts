// Reads what comes in chunks of any size in portions that are asked for, in as much memory as a chunk takes.

/** One reader, one thing at a time. Throws `cutShort` where the bytes end before what was asked for. */
export class ByteReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #cutShort: () => Error;
  #rest: Uint8Array = new Uint8Array();
  /** Of the open entry's content. */
  #unread = 0;

  constructor(bytes: AsyncIterable<Uint8Array>, cutShort: () => Error) {
    this.#cutShort = cutShort;
    this.#chunks = bytes[Symbol.asyncIterator]();
  }

  /** Few bytes, all of them. */
  async take(count: number): Promise<Buffer> {
    const bytes = Buffer.alloc(count);
    let length = 0;
    this.open(count);
    // Copied as they come: a list of parts would be many times as large if they come one by one.
    for await (const part of this.content()) {
      bytes.set(part, length);
      length += part.length;
    }
    return bytes;
  }

  /** What is to be read next; to be called when nothing is unread. */
  open(size: number): void {
    this.#unread = size;
  }

  async *content(): AsyncGenerator<Uint8Array> {
    while (this.#unread > 0) {
      if (this.#rest.length === 0 && !(await this.#more())) throw this.#cutShort();
      const part = this.#rest.subarray(0, this.#unread);
      this.#rest = this.#rest.subarray(part.length);
      this.#unread -= part.length;
      yield part;
    }
  }

  /** What is unread of the content, and so many bytes after it. */
  async skip(count: number): Promise<void> {
    this.#unread += count;
    for await (const _ of this.content());
  }

  /** Whether nothing follows. */
  async isOver(): Promise<boolean> {
    while (this.#rest.length === 0) if (!(await this.#more())) return true;
    return false;
  }

  /** To the end: only there a checksum of the compression is found wrong. */
  async drain(): Promise<void> {
    while (await this.#more());
  }

  async end(): Promise<void> {
    await this.#chunks.return?.();
  }

  async #more(): Promise<boolean> {
    const { done, value } = await this.#chunks.next();
    if (!done) this.#rest = value;
    return !done;
  }
}
