// What every driver does between having a sandbox and handing it out.

import type { Guard, Sandbox } from "./sandbox.ts";

/** Resolves when its program has been started (or has already ended). When it rejects, or `signal` aborts, it is closed first. */
export async function untilOpened<S extends Sandbox & { readonly opened: Promise<void> }>(
  sandbox: S,
  signal: AbortSignal,
  guard: Guard | undefined,
): Promise<S> {
  guard?.((ms) => sandbox.extend(ms));
  // What cannot be removed now is found by the next start.
  const abort = () => void sandbox.close().catch(() => {});
  signal.addEventListener("abort", abort, { once: true });
  try {
    await sandbox.opened;
    signal.throwIfAborted();
    return sandbox;
  } catch (error) {
    await sandbox.close();
    throw signal.aborted ? signal.reason : error;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
