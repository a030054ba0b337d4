// What a run is told while it goes on: its terminal's size, a signal, its end. As it crosses HTTP, and as it travels to the host
// that holds the run.
//
// One idea: whoever receives an order parses it as if it came from a stranger, and a word that is not on the list is none.

import { z } from "zod";
import { RUN_ID_PATTERN } from "./ids.ts";

/** Larger than any screen; a program may hold this many cells in memory several times over. */
export const TERMINAL_BOUNDS = { min: 1, max: 1000 } as const;

const side = (says: string, example: number) =>
  z.int().min(TERMINAL_BOUNDS.min).max(TERMINAL_BOUNDS.max).meta({ description: says, example });

export const TerminalSize = z
  .strictObject({ rows: side("Lines.", 24), columns: side("Characters in a line.", 80) })
  .meta({
    id: "TerminalSize",
    description:
      "The program's stdin, stdout and stderr are a terminal of this size, and all that it writes is stdout. What is sent as stdin is typed into it.",
  });

export type TerminalSize = z.infer<typeof TerminalSize>;

/**
 * What a program may be sent. SIGKILL goes to every process of the run. Not among them: what stops a program without ending it
 * (a run that holds its host and does nothing), and what only a fault of its own should send it.
 */
export const SIGNALS = [
  "SIGHUP",
  "SIGINT",
  "SIGQUIT",
  "SIGUSR1",
  "SIGUSR2",
  "SIGTERM",
  "SIGWINCH",
  "SIGKILL",
] as const satisfies readonly NodeJS.Signals[];

export type RunSignal = (typeof SIGNALS)[number];

export const SignalRequest = z
  .strictObject({
    signal: z.enum(SIGNALS).meta({ description: "To the program itself; SIGKILL to all of the run's processes." }),
  })
  .meta({ id: "SignalRequest" });

/** What a host is told about a run that it may hold. Best effort; a size and a cancellation are in the record as well. */
export type RunOrder =
  | { readonly verb: "cancel" | "force-cancel" | "resize"; readonly run: string }
  | { readonly verb: "signal"; readonly run: string; readonly signal: RunSignal };

/** Or about itself: that its duty is another now (host.ts), which it reads from Redis. */
export type HostOrder = RunOrder | { readonly verb: "duty" };

/** `duty`, `cancel run_…`, `force-cancel run_…` (without a grace), `resize run_…` (the size is read from the record), `signal run_… SIGINT`. */
export function formatOrder(order: HostOrder): string {
  if (order.verb === "duty") return order.verb;
  return [order.verb, order.run, ...(order.verb === "signal" ? [order.signal] : [])].join(" ");
}

/** Undefined for anything but an order in exactly the form that `formatOrder` gives it. */
export function parseOrder(text: string): HostOrder | undefined {
  if (text === "duty") return { verb: "duty" };
  const [verb, run = "", word, ...rest] = text.split(" ");
  if (!RUN_ID_PATTERN.test(run) || rest.length > 0) return undefined;
  if (verb === "cancel" || verb === "force-cancel" || verb === "resize")
    return word === undefined ? { verb, run } : undefined;
  const signal = SIGNALS.find((known) => known === word);
  return verb === "signal" && signal ? { verb, run, signal } : undefined;
}
