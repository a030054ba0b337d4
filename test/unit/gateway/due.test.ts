import { expect, test } from "vitest";
import { requireNear } from "../../../gateway/dispatch/due.ts";

const DAY = 86_400_000;
const NOW = Date.parse("2026-01-31T08:00:00Z");

test.each([
  ["2026-01-31T08:00:00Z"],
  ["2000-01-01T00:00:00Z"],
  [new Date(NOW + 366 * DAY).toISOString()],
  ["2027-02-01T10:00:00+02:00"],
])("a run may be put off until %s", (notBefore) => {
  expect(() => requireNear(notBefore, NOW)).not.toThrow();
});

test.each([[new Date(NOW + 366 * DAY + 1).toISOString()], ["9999-12-31T23:59:59Z"]])(
  "one that is put off until %s is refused, and told the field and the limit",
  (notBefore) => {
    expect(() => requireNear(notBefore, NOW)).toThrow(
      expect.objectContaining({
        reason: "invalid_field",
        message: "notBefore is more than 366d ahead",
        details: { field: "notBefore", limit: "366d" },
      }),
    );
  },
);
