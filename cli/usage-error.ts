// The command line itself is wrong: nothing was asked of the gateway.

/** `message` is one sentence or several lines, without the program's name. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
