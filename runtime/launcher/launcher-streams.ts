// A program's streams over frames: each side says how much it has room for, so that a stream which nobody reads holds up nothing
// but its program.

import { Readable, Writable } from "node:stream";
import { encodeFrame, encodeU32, FRAME, MAX_CHUNK_BYTES, STREAM_WINDOW_BYTES } from "./protocol.ts";

type Send = (frame: Buffer) => void;

/** Room is told in steps, so that small reads do not make a frame each. */
const CREDIT_STEP_BYTES = STREAM_WINDOW_BYTES / 4;

export class OutputStream extends Readable {
  readonly #send: Send;
  readonly #index: number;
  #untold = 0;

  constructor(index: number, send: Send) {
    super({ highWaterMark: MAX_CHUNK_BYTES });
    this.#send = send;
    this.#index = index;
    this.on("error", () => {}); // Whoever reads is told; nobody has to.
  }

  /** Bytes from the launcher; they are copied, as the frame they lie in is used again. */
  deliver(bytes: Buffer): void {
    this.#untold += bytes.length;
    if (!this.destroyed) this.push(Buffer.from(bytes));
  }

  finish(): void {
    if (!this.destroyed) this.push(null);
  }

  override _read(): void {
    if (this.#untold < CREDIT_STEP_BYTES) return;
    this.#send(encodeU32(FRAME.CREDIT, this.#untold, this.#index));
    this.#untold = 0;
  }
}

export class InputStream extends Writable {
  readonly #send: Send;
  #credit = STREAM_WINDOW_BYTES;
  #waiting: { bytes: Buffer; done: () => void } | undefined;

  constructor(send: Send) {
    super({ highWaterMark: MAX_CHUNK_BYTES });
    this.#send = send;
    this.on("error", () => {}); // Nobody reads it any more: that is the program's affair.
  }

  /** The program has taken `bytes`: so many more may be sent. */
  credit(bytes: number): void {
    this.#credit += bytes;
    this.#flush();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#waiting = { bytes: chunk, done };
    this.#flush();
  }

  override _final(done: () => void): void {
    this.#send(encodeFrame(FRAME.STDIN));
    done();
  }

  #flush(): void {
    const waiting = this.#waiting;
    if (!waiting) return;
    while (waiting.bytes.length > 0 && this.#credit > 0) {
      const piece = waiting.bytes.subarray(0, Math.min(this.#credit, MAX_CHUNK_BYTES));
      this.#send(encodeFrame(FRAME.STDIN, piece));
      this.#credit -= piece.length;
      waiting.bytes = waiting.bytes.subarray(piece.length);
    }
    if (waiting.bytes.length > 0) return;
    this.#waiting = undefined;
    waiting.done();
  }
}
