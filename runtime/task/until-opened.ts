// What every driver does between having a sandbox and handing it out.

import type { Guard, Sandbox } from "./sandbox.ts";

interface Opening {
  readonly signal: AbortSignal;
  readonly guard: Guard | undefined;
  /** What the program must not start without: nothing is opened if it fails. */
  readonly sent: Promise<void>;
}

/** Resolves when its program has been started (or has already ended). When it rejects, or `signal` aborts, it is closed first. */
export async function untilOpened<S extends Sandbox & { readonly opened: Promise<void> }>(
  sandbox: S,
  { signal, guard, sent }: Opening,
): Promise<S> {
  guard?.((ms) => sandbox.extend(ms));
  // What cannot be removed now is found by the next start.
  const abort = () => void sandbox.close().catch(() => {});
  signal.addEventListener("abort", abort, { once: true });
  try {
    await Promise.race([sandbox.opened, sent.then(() => sandbox.opened)]);
    signal.throwIfAborted();
    return sandbox;
  } catch (error) {
    await sandbox.close();
    throw signal.aborted ? signal.reason : error;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
