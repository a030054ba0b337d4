// A peer of the launcher that keeps to no protocol: it sends what bytes it likes, and reads when it likes.

import { connect, type Socket } from "node:net";
import { decodeFailed, encodeFrame, FRAME, type Frame, FrameReader } from "../../runtime/launcher/protocol.ts";

export class RawPeer {
  /** All frames that came so far, payloads copied. */
  readonly frames: Frame[] = [];
  readonly closed: Promise<void>;
  readonly socket: Socket;
  #over = false;
  readonly #waiting = new Set<() => void>();

  /** With `reads: false` nothing is ever taken from the socket. */
  constructor(path: string, { reads = true } = {}) {
    this.socket = connect({ path });
    this.socket.on("error", () => {}); // `closed` tells.
    const reader = new FrameReader();
    if (reads) {
      this.socket.on("data", (chunk: Buffer) => {
        for (const frame of reader.push(chunk)) this.frames.push({ ...frame, payload: Buffer.from(frame.payload) });
        this.#tellAll();
      });
    }
    this.closed = new Promise((resolve) =>
      this.socket.once("close", () => {
        this.#over = true;
        this.#tellAll();
        resolve();
      }),
    );
  }

  /** Resolves when the bytes have left this process, or cannot any more. */
  send(bytes: Buffer): Promise<void> {
    return new Promise((resolve) => {
      if (!this.socket.writable) return resolve();
      this.socket.write(bytes, () => resolve());
    });
  }

  /** The first frame of this type (and of this stream), now or later; rejects once the connection is over without it. */
  async hears(type: number, stream?: number): Promise<Frame> {
    for (;;) {
      const found = this.frames.find((frame) => frame.type === type && (stream ?? frame.stream) === frame.stream);
      if (found) return found;
      if (this.#over) throw new Error(`closed without frame ${type}; there were ${this.frames.map((f) => f.type)}`);
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  /** What the launcher says on closing: `stage: message`. */
  async refusal(): Promise<string> {
    await this.closed;
    const failed = this.frames.find((frame) => frame.type === FRAME.FAILED);
    if (!failed) return "";
    const { stage, message } = decodeFailed(failed.payload);
    return `${stage}: ${message}`;
  }

  /** Asks for the removal of its sandbox and waits until it is done. */
  async release(): Promise<void> {
    await this.send(encodeFrame(FRAME.RELEASE));
    await this.hears(FRAME.RELEASED);
    this.drop();
    await this.closed;
  }

  drop(): void {
    this.socket.destroy();
  }

  #tellAll(): void {
    for (const tell of this.#waiting) tell();
    this.#waiting.clear();
  }
}
