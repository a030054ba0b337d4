// One HTTP request to a server on this machine. Without a connection pool, so that nothing is left open when it is answered.

import { request } from "node:http";

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

export interface Request {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly limitMs?: number;
}

/** The longest that a server here may be silent, unless the caller knows better. */
const LIMIT_MS = 5_000;

export function get(url: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
  return send(url, { headers });
}

/** Any status is an answer; rejects only without one. */
export function send(
  url: string,
  { method = "GET", headers = {}, body, limitMs = LIMIT_MS }: Request = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers, agent: false, timeout: limitMs }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.once("error", reject);
      response.once("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks).toString("utf8"),
        }),
      );
    });
    sent.once("timeout", () => sent.destroy(new Error(`no answer from ${url} within ${limitMs / 1000} s`)));
    sent.once("error", reject);
    sent.end(body);
  });
}
