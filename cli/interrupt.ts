// Ctrl-C during `mayfly run`: the first asks for the run's end, the second leaves without waiting for it.

import { EXIT } from "./exit-codes.ts";
import { type Io, note } from "./io.ts";

export interface Interrupts {
  /** The run is known from here on; a signal that came before is acted on now. */
  watch(id: string): void;
  /** Signals mean again what they mean by default. Safe to repeat. */
  stop(): void;
}

/** A second signal gives a cancellation that is under way this long to be sent: `npx` passes on a Ctrl-C that came anyway. */
const LEAVE_MS = 1_000;

/** Listens from now on: SIGINT, SIGTERM and SIGHUP alike. `cancel` is called once, and its failure is told. */
export function cancelOnSignal(io: Io, cancel: (id: string) => Promise<unknown>): Interrupts {
  let id: string | undefined;
  let signals = 0;
  let cancelling: Promise<void> | undefined;

  const begin = () => {
    if (signals === 0 || id === undefined || cancelling) return;
    cancelling = cancel(id).then(
      () => undefined,
      (error) => note(io, `the run could not be cancelled: ${error instanceof Error ? error.message : String(error)}`),
    );
  };
  const leave = () => io.exitNow(EXIT.cancelled);
  const stop = io.onSignal(() => {
    signals += 1;
    begin();
    if (signals === 1) {
      void note(io, "cancelling the run; once more to leave without waiting");
    } else if (signals === 2) {
      setTimeout(leave, LEAVE_MS).unref();
      void cancelling?.then(leave);
    }
  });
  return {
    watch(known) {
      id = known;
      begin();
    },
    stop,
  };
}
