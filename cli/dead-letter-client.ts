// Dead letters, through the gateway: runs that were to be tried again and have failed for good.

import { z } from "zod";
import { RUN_ID_PATTERN } from "../core/ids.ts";
import { parseAnswer, parseRunPage, type RunPage } from "./answers.ts";
import { readJson, type Send } from "./http.ts";

interface Options {
  readonly signal?: AbortSignal | undefined;
}

interface PageOptions extends Options {
  readonly limit?: number | undefined;
  readonly cursor?: string | undefined;
}

const Retried = z.object({ deadLetter: z.string(), run: z.string().regex(RUN_ID_PATTERN) });
const Sweep = z.object({
  retried: z.array(Retried),
  failed: z.array(z.object({ deadLetter: z.string(), reason: z.string(), message: z.string() })),
  next: z.string().optional(),
});

export type RetriedDeadLetter = z.infer<typeof Retried>;
export type DeadLetterSweep = z.infer<typeof Sweep>;

/** Every method throws ClientError, or the reason of an aborted signal. */
export interface DeadLetterClient {
  list(options?: PageOptions): Promise<RunPage>;
  /** As a new run, with the same input. The dead letter leaves the list. */
  retry(id: string, options?: Options): Promise<RetriedDeadLetter>;
  /** A page of them. Those that failed stay on the list; `next` goes on behind them. */
  retryPage(options?: PageOptions): Promise<DeadLetterSweep>;
  /** Off the list; the run is kept. */
  dismiss(id: string, options?: Options): Promise<void>;
}

export function createDeadLetterClient(send: Send): DeadLetterClient {
  const pathOf = (id: string, rest = "") => `/v1/dead-letters/${encodeURIComponent(id)}${rest}`;
  return {
    list: async ({ signal, ...query } = {}) =>
      parseRunPage(await readJson(await send({ method: "GET", path: "/v1/dead-letters", query, signal }))),
    retry: async (id, { signal } = {}) =>
      parseAnswer(Retried, await readJson(await send({ method: "POST", path: pathOf(id, "/retry"), signal }))),
    retryPage: async ({ signal, ...query } = {}) =>
      parseAnswer(Sweep, await readJson(await send({ method: "POST", path: "/v1/dead-letters/retry", query, signal }))),
    dismiss: async (id, { signal } = {}) => {
      const answer = await send({ method: "DELETE", path: pathOf(id), signal });
      await answer.body?.cancel();
    },
  };
}
