// One connection to the launcher: frames out, frames in, and its end.

import { connect, type Socket } from "node:net";
import { type Frame, FrameReader } from "./protocol.ts";

export class FrameConnection {
  /** Hears every frame in order. */
  onFrame: (frame: Frame) => void;
  /** Called once, when the connection is over for whatever reason. */
  onClose: () => void = () => {};
  readonly #socket: Socket;

  /** Frames may be sent at once. */
  constructor(path: string, onFrame: (frame: Frame) => void = () => {}) {
    this.#socket = connect({ path });
    this.onFrame = onFrame;
    const reader = new FrameReader();
    this.#socket.on("data", (chunk: Buffer) => {
      try {
        for (const frame of reader.push(chunk)) this.onFrame(frame);
      } catch {
        this.#socket.destroy(); // What cannot be understood is as good as gone; `onClose` tells.
      }
    });
    this.#socket.on("error", () => {}); // `onClose` tells.
    this.#socket.once("close", () => this.onClose());
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

  get isOpen(): boolean {
    return !this.#socket.destroyed;
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

/** Connections without a sandbox, kept for the next one: a connection costs more than a frame. */
export class FrameConnections {
  readonly #path: string;
  readonly #idle = new Set<FrameConnection>();
  static readonly MAX_IDLE = 64;

  constructor(path: string) {
    this.#path = path;
  }

  take(): FrameConnection {
    for (const connection of this.#idle) {
      this.#idle.delete(connection);
      if (connection.isOpen) return connection;
    }
    return new FrameConnection(this.#path);
  }

  /** For one that has no sandbox any more. */
  give(connection: FrameConnection): void {
    if (!connection.isOpen || this.#idle.size >= FrameConnections.MAX_IDLE) return connection.destroy();
    connection.onFrame = () => {};
    connection.onClose = () => this.#idle.delete(connection);
    this.#idle.add(connection);
  }

  close(): void {
    for (const connection of this.#idle) connection.destroy();
  }
}

/** Asks one question on a connection of its own. Rejects if the launcher is not there, or leaves without an answer. */
export async function ask(path: string, question: Buffer, answerType: number): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const connection = new FrameConnection(path, (frame) => {
    if (frame.type === answerType) resolve(Buffer.from(frame.payload));
  });
  connection.onClose = () => reject(new Error("the launcher does not answer"));
  connection.send(question);
  try {
    return await promise;
  } finally {
    connection.destroy();
  }
}
