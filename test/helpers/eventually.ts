// For what comes by itself and tells nobody: looked for again and again, as long as it may take on a machine that is busy with other things.

import { vi } from "vitest";

/** Far more than anything takes, and less than a test's own limit, so that a failure says what was seen last. */
const PATIENCE_MS = 60_000;

export async function eventually(check: () => unknown): Promise<void> {
  await vi.waitFor(check, { timeout: PATIENCE_MS, interval: 10 });
}
