// The Prefer header (RFC 7240): how long the caller would wait for a run to finish.

import { MayflyError } from "../core/errors.ts";
import { BOUNDS } from "../core/request.ts";

/** Seconds of `respond-async, wait=30`; 0 if nothing is said of waiting. A wait over the bound is refused, not shortened. */
export function parseWait(prefer: string | undefined): number {
  const wait = prefer
    ?.split(",")
    .map((preference) => /^\s*wait\s*=\s*"?([^";\s]*)"?\s*(;.*)?$/i.exec(preference)?.[1])
    .find((value) => value !== undefined);
  if (wait === undefined) return 0;
  if (/^\d{1,9}$/.test(wait) && Number(wait) <= BOUNDS.waitSeconds.max) return Number(wait);
  throw new MayflyError(
    "invalid_field",
    `Prefer: wait=${wait} is not a whole number of seconds up to ${BOUNDS.waitSeconds.max}`,
    {
      details: { field: "Prefer" },
    },
  );
}
