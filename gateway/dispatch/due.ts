// How far ahead a run may be put off by a moment: as far as by a delay. It is asked when the run is submitted, and not again: by then it is nearer.

import { MayflyError } from "../../core/errors.ts";
import { BOUNDS } from "../../core/request.ts";
import { formatDuration } from "../../core/units.ts";

/** Throws `invalid_field`. */
export function requireNear(notBefore: string, nowMs: number): void {
  const { max } = BOUNDS.delayMs;
  if (Date.parse(notBefore) - nowMs <= max) return;
  throw new MayflyError("invalid_field", `notBefore is more than ${formatDuration(max)} ahead`, {
    details: { field: "notBefore", limit: formatDuration(max) },
  });
}
