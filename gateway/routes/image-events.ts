// Work of several hosts that takes its time, told as server-sent events while it goes on. The last event is `end`; a stream without
// it was broken off.

import type { Context } from "hono";
import { streamSSE } from "hono/streaming";
import type { Log } from "../../core/log.ts";
import type { GatewayEnv } from "../context.ts";
import type { Hosts } from "../dispatch/hosts.ts";

/** Proxies close connections that are silent. */
const KEEP_ALIVE_MS = 15_000;

export type Tell = (event: string, data: object) => Promise<void>;

/** `work` ends early when its signal says that nobody listens any more. Errors: `too_many_waiters`. */
export function streamWork(
  c: Context<GatewayEnv>,
  { hosts, log }: { hosts: Hosts; log: Log },
  work: (tell: Tell, signal: AbortSignal) => Promise<void>,
): Response {
  const leave = hosts.enter();
  const gone = new AbortController();
  return streamSSE(c, async (stream) => {
    stream.onAbort(() => gone.abort());
    const keepAlive = setInterval(() => void stream.write(": keep-alive\n\n"), KEEP_ALIVE_MS);
    const tell: Tell = (event, data) => stream.writeSSE({ event, data: JSON.stringify(data) });
    try {
      await work(tell, gone.signal);
      await tell("end", {});
    } catch (error) {
      if (!gone.signal.aborted) log.warn("images.stream_failed", { id: c.get("requestId"), error });
    } finally {
      clearInterval(keepAlive);
      leave();
    }
  });
}
