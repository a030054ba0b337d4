// A run's events as one unbroken sequence, over as many connections as it takes.

import { chunksOf } from "./body.ts";
import { interrupted, invalidAnswer } from "./client-error.ts";
import type { Send } from "./http.ts";
import { createPatience } from "./patience.ts";
import { createPosition } from "./position.ts";
import { decodeEvent, type RunEvent } from "./run-event.ts";
import { createSseParser, type SseEvent } from "./sse.ts";

export interface FollowOptions {
  readonly signal?: AbortSignal | undefined;
  /** A connection that is silent for longer counts as broken. It must exceed the keep-alive's 15 s; 45 s by default. */
  readonly silenceMs?: number | undefined;
  /** Further connections in a row that may bring nothing new; 8 by default, which with their waits last about 16 s. */
  readonly reconnects?: number | undefined;
}

const MAX_RECONNECTS = 8;
const STEP_MS = 200;
const SILENCE_MS = 45_000;

/**
 * Every event of the run from its beginning to `end`, which is the last: no byte of an attempt is lost or given twice.
 * An attempt that follows another starts its output at offset 0. Nothing is read ahead of the consumer.
 * Throws ClientError when the gateway refuses, or stays away too long; the run itself is not touched by that.
 */
export async function* followRun(send: Send, id: string, options: FollowOptions = {}): AsyncGenerator<RunEvent, void> {
  const position = createPosition();
  const patience = createPatience({
    limit: options.reconnects ?? MAX_RECONNECTS,
    stepMs: STEP_MS,
    signal: options.signal,
  });
  for (;;) {
    try {
      for await (const received of connect(send, id, { ...options, lastEventId: position.id })) {
        const event = position.advance(received);
        if (event === undefined) continue;
        patience.progress();
        yield event;
        if (event.type === "end") return;
      }
      throw interrupted("the event stream ended before the run did");
    } catch (error) {
      options.signal?.throwIfAborted();
      await patience.afterFailure(error);
    }
  }
}

async function* connect(
  send: Send,
  id: string,
  options: FollowOptions & { lastEventId: string | undefined },
): AsyncGenerator<RunEvent, void> {
  const silence = createSilenceGuard(options);
  try {
    const response = await send({
      method: "GET",
      path: `/v1/runs/${encodeURIComponent(id)}/events`,
      headers: {
        accept: "text/event-stream",
        ...(options.lastEventId === undefined ? {} : { "last-event-id": options.lastEventId }),
      },
      signal: silence.signal,
      once: true,
    });
    for await (const event of readEvents(response, silence)) {
      const decoded = decodeEvent(event);
      if (decoded !== undefined) yield decoded;
    }
  } catch (error) {
    throw silence.isOver() ? interrupted("the event stream fell silent") : error;
  } finally {
    silence.stop();
  }
}

async function* readEvents(response: Response, silence: SilenceGuard): AsyncGenerator<SseEvent, void> {
  if (!response.headers.get("content-type")?.startsWith("text/event-stream") || response.body === null) {
    throw invalidAnswer("the gateway's event stream is not text/event-stream", { status: response.status });
  }
  const parse = createSseParser();
  for await (const bytes of chunksOf(response)) {
    // The consumer may take its time with the events: only waiting for the gateway is timed.
    silence.stop();
    yield* parse(bytes);
    silence.start();
  }
}

interface SilenceGuard {
  readonly signal: AbortSignal;
  isOver(): boolean;
  start(): void;
  stop(): void;
}

/** Started; its signal aborts when it has not been stopped or started again in time, or with the caller's signal. */
function createSilenceGuard({ signal, silenceMs = SILENCE_MS }: FollowOptions): SilenceGuard {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const stop = () => clearTimeout(timer);
  const start = () => {
    stop();
    timer = setTimeout(() => controller.abort(), silenceMs);
  };
  start();
  return {
    signal: signal ? AbortSignal.any([signal, controller.signal]) : controller.signal,
    isOver: () => controller.signal.aborted && !signal?.aborted,
    start,
    stop,
  };
}
