// A log that a test can wait on.

import type { EventFields, Log } from "../../core/log.ts";

export interface HeardLog extends Log {
  readonly events: readonly { readonly event: string; readonly fields: EventFields }[];
  /** Resolves once there have been `count` of this event. */
  heard(event: string, count?: number): Promise<EventFields>;
}

export function heardLog(): HeardLog {
  const events: { event: string; fields: EventFields }[] = [];
  const waiting = new Set<() => void>();
  const take = (event: string, fields: EventFields = {}) => {
    events.push({ event, fields });
    for (const tell of waiting) tell();
    waiting.clear();
  };
  return {
    events,
    info: take,
    warn: take,
    error: take,
    async heard(event, count = 1) {
      for (;;) {
        const found = events.filter((one) => one.event === event)[count - 1];
        if (found) return found.fields;
        await new Promise<void>((resolve) => waiting.add(resolve));
      }
    },
  };
}
