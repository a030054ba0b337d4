// A flag that is a whole number.

import { UsageError } from "./usage-error.ts";

/** Undefined if it was not given. Throws UsageError that names the flag. */
export function wholeNumber(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new UsageError(`${flag} ${JSON.stringify(text)} is not a whole number`);
}
