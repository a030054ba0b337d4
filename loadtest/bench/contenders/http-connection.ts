// One HTTP/1.1 connection that is kept open and read at its socket, so that what is timed is the server and not a client library.
// It can do what one caller needs of a gateway: one request after the other, answers with a Content-Length.

import { once } from "node:events";
import { connect, type Socket } from "node:net";

const LIMIT_MS = 60_000;
const HEAD_END = "\r\n\r\n";

export class HttpConnection {
  readonly #socket: Socket;
  #received = Buffer.alloc(0);
  #answer: PromiseWithResolvers<string> | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    const fail = (error: Error) => this.#answer?.reject(error);
    socket.setTimeout(LIMIT_MS, () => socket.destroy(new Error(`no answer within ${LIMIT_MS / 1000} s`)));
    socket.on("error", fail).on("close", () => fail(new Error("the connection was closed")));
  }

  static async open({ hostname, port }: URL): Promise<HttpConnection> {
    const socket = connect(Number(port), hostname);
    await once(socket, "connect");
    return new HttpConnection(socket);
  }

  /** False once the server has closed it, as servers do when nothing is asked for a while. */
  get isOpen(): boolean {
    return this.#socket.writable;
  }

  /** A request as bytes, to be sent any number of times. */
  static request(url: URL, headers: Readonly<Record<string, string>>, body: string): Buffer {
    const all = { host: url.host, ...headers, "content-length": String(Buffer.byteLength(body)) };
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
    return Buffer.from([`POST ${url.pathname} HTTP/1.1`, ...lines].join("\r\n") + HEAD_END + body);
  }

  /** The whole answer, head and body, once its last byte is here. One at a time. Rejects if the connection is closed. */
  send(request: Buffer): Promise<string> {
    if (!this.isOpen) return Promise.reject(new Error("the connection was closed before"));
    this.#answer = Promise.withResolvers();
    this.#socket.write(request);
    return this.#answer.promise;
  }

  close(): void {
    this.#socket.destroy();
  }

  #receive(chunk: Buffer): void {
    this.#received = Buffer.concat([this.#received, chunk]);
    const head = this.#received.indexOf(HEAD_END);
    if (head === -1) return;
    const length = /^content-length: (\d+)\r$/im.exec(`${this.#received.toString("latin1", 0, head)}\r`)?.[1];
    if (length === undefined) this.#answer?.reject(new Error("the answer has no Content-Length"));
    if (this.#received.length < head + HEAD_END.length + Number(length)) return;
    this.#answer?.resolve(this.#received.toString());
    this.#received = Buffer.alloc(0);
  }
}
