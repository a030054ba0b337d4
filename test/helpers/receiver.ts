// A receiver of webhooks: a real HTTP server on loopback that keeps what it was sent and answers as the test says.
//
//   const receiver = await startReceiver(() => 500);
//   … receiver.url …                      // http://127.0.0.1:PORT/hook?token=…
//   const [first] = await receiver.heard(1);
//   await receiver.stop();

import { createHmac } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { Bell } from "../../core/bell.ts";

export interface Heard {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A status; or whatever it does with the response, such as nothing. */
export type Answer = (heard: Heard, response: ServerResponse) => number | undefined;

export interface Receiver {
  readonly url: string;
  readonly port: number;
  /** All that came so far, in order. */
  readonly requests: readonly Heard[];
  /** Resolves once so many have come. */
  heard(count: number): Promise<readonly Heard[]>;
  answer(how: Answer): void;
  /** Breaks off what is under way. Idempotent. */
  stop(): Promise<void>;
}

/** In the URL's query: what must not be told to anybody else. */
export const TOKEN = "a-token-of-the-receiver";

export async function startReceiver(how: Answer = () => 204, port = 0): Promise<Receiver> {
  const requests: Heard[] = [];
  const bell = new Bell();
  let answer = how;
  const server = createServer(async (request, response) => {
    const { method = "", url = "", headers } = request;
    const body = await text(request).catch(() => undefined);
    if (body === undefined) return; // Broken off.
    const heard = { method, path: url, headers, body };
    requests.push(heard);
    bell.ring();
    const status = answer(heard, response);
    if (status !== undefined) response.writeHead(status).end("thank you");
  }).listen(port, "127.0.0.1");
  await once(server, "listening");
  const address = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${address.port}/hook?token=${TOKEN}`,
    port: address.port,
    requests,
    async heard(count) {
      while (requests.length < count) await bell.wait();
      return requests;
    },
    answer(next) {
      answer = next;
    },
    async stop() {
      server.closeAllConnections();
      if (server.listening) await new Promise((closed) => server.close(closed));
    },
  };
}

/** As a receiver would check it, by hand: whether any of the signatures is this secret's. */
export function isSignedWith(secret: string, { headers, body }: Heard): boolean {
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const content = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`;
  const expected = `v1,${createHmac("sha256", key).update(content).digest("base64")}`;
  return String(headers["webhook-signature"]).split(" ").includes(expected);
}
