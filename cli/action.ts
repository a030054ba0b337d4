// The first operand of a command that does several things: which of them.

import { nearest } from "./nearest.ts";
import { UsageError } from "./usage-error.ts";

/** Throws UsageError that names the nearest, or all. */
export function chooseAction<T>(actions: Readonly<Record<string, T>>, name: string): T {
  const action = Object.hasOwn(actions, name) ? actions[name] : undefined;
  if (action !== undefined) return action;
  const names = Object.keys(actions);
  const near = nearest(name, names);
  throw new UsageError(
    `there is no action ${JSON.stringify(name)}${near === undefined ? `: ${names.join(", ")}` : `; did you mean ${near}?`}`,
  );
}
