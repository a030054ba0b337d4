// One connection to the launcher: frames out, frames in, and its end.

import { connect, type Socket } from "node:net";
import { type Frame, FrameReader } from "./protocol.ts";

export class FrameConnection {
  /** Resolves when the connection is over, for whatever reason. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;

  /** Frames may be sent at once; `onFrame` hears every frame in order. */
  constructor(path: string, onFrame: (frame: Frame) => void) {
    this.#socket = connect({ path });
    const reader = new FrameReader();
    this.#socket.on("data", (chunk: Buffer) => {
      try {
        for (const frame of reader.push(chunk)) onFrame(frame);
      } catch {
        this.#socket.destroy(); // What cannot be understood is as good as gone; `closed` tells.
      }
    });
    this.#socket.on("error", () => {}); // `closed` tells.
    this.closed = new Promise((resolve) => this.#socket.once("close", () => resolve()));
  }

  /** Resolves when the launcher has accepted it; rejects if there is none. */
  connected(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#socket.readyState === "open") return resolve();
      this.#socket.once("connect", resolve);
      this.#socket.once("error", reject);
    });
  }

  send(frame: Buffer): void {
    if (this.#socket.writable) this.#socket.write(frame);
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

/** Asks one question on a connection of its own. Rejects if the launcher is not there, or leaves without an answer. */
export async function ask(path: string, question: Buffer, answerType: number): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const connection = new FrameConnection(path, (frame) => {
    if (frame.type === answerType) resolve(Buffer.from(frame.payload));
  });
  void connection.closed.then(() => reject(new Error("the launcher does not answer")));
  connection.send(question);
  try {
    return await promise;
  } finally {
    connection.destroy();
  }
}
