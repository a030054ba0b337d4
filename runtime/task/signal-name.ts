// Signals by number, as wait(2) has them, and by name.

import { constants } from "node:os";

/** Of two names for one number the first holds: SIGABRT, not SIGIOT. */
const NAMES = new Map(
  Object.entries(constants.signals)
    .map(([name, number]) => [number, name] as const)
    .toReversed(),
);

export function signalName(number: number): NodeJS.Signals {
  // Real-time signals have no names in Node; they are numbered from SIGRTMIN as kill -l does.
  return (NAMES.get(number) ?? `SIGRTMIN+${number - 34}`) as NodeJS.Signals;
}
