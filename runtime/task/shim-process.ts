// The worker's end of one mayfly-shim: its lines as promises and calls. protocol.h says what they mean.

import type { ChildProcess } from "node:child_process";
import type { Duplex, Readable, Writable } from "node:stream";
import { MayflyError } from "../../core/errors.ts";
import { startProcess } from "../host/command.ts";
import type { ProcessEnd } from "./sandbox.ts";
import { signalName } from "./signal-name.ts";

/** A line of the shim's is shorter than this by far; more without a line end is not a shim speaking. */
const MAX_LINE_CHARS = 4096;

export type ShimEvent =
  | { readonly kind: "created" }
  | { readonly kind: "started" }
  | { readonly kind: "collecting" }
  | { readonly kind: "ended"; readonly process: ProcessEnd }
  | { readonly kind: "failed"; readonly stage: string; readonly message: string }
  | { readonly kind: "released" }
  | { readonly kind: "gone" };

/** Reads one line of the shim's, such as `exited signal 9` or `failed user the image has no such user or group`. */
export function parseShimLine(line: string): ShimEvent {
  const [word, ...rest] = line.split(" ");
  if (word === "created" || word === "started" || word === "collecting" || word === "released") return { kind: word };
  if (word === "failed") return { kind: "failed", stage: rest[0] ?? "", message: rest.slice(1).join(" ") };
  if (word === "exited" && rest.length === 2) {
    const value = Number(rest[1]);
    if (rest[0] === "code") return { kind: "ended", process: { kind: "exited", exitCode: value } };
    if (rest[0] === "signal") return { kind: "ended", process: { kind: "signaled", signal: signalName(value) } };
  }
  throw new MayflyError("bug", `the shim said ${JSON.stringify(line)}`);
}

export class ShimProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** If they were asked for. */
  readonly artifacts: Readable | undefined;
  /** Resolves when the shim process itself is gone. */
  readonly gone: Promise<void>;
  readonly #child: ChildProcess;
  readonly #control: Duplex;
  #text = "";

  /** `onEvent` hears every line in order, then `gone`. */
  constructor(
    argv: readonly [string, ...string[]],
    onEvent: (event: ShimEvent) => void,
    { hasArtifacts = false } = {},
  ) {
    this.#child = startProcess(argv, {
      stdio: ["pipe", "pipe", "pipe", "pipe", ...(hasArtifacts ? ["pipe" as const] : [])],
    });
    // A process that cannot be started at all says so later, and then has no streams.
    const failed = new Promise<void>((resolve) => this.#child.once("error", () => resolve()));
    if (!this.#child.stdio)
      throw new MayflyError("host_unavailable", `cannot start ${argv[0]}: the host is out of descriptors or processes`);
    [this.stdin, this.stdout, this.stderr, this.#control, this.artifacts] = this.#child.stdio as unknown as [
      Writable,
      Readable,
      Readable,
      Duplex,
      Readable | undefined,
    ];
    // The shim may be gone at any moment: `gone` tells that, and a broken pipe adds nothing to it.
    for (const stream of [this.stdin, this.stdout, this.stderr, this.#control, this.artifacts])
      stream?.on("error", () => {});
    this.#control.setEncoding("utf8");
    this.#control.on("data", (text: string) => this.#hear(text, onEvent));
    // Its last lines may be read after it has exited, so the control socket's end is awaited too.
    const exited = new Promise<void>((resolve) => this.#child.once("exit", () => resolve()));
    const silent = new Promise<void>((resolve) => this.#control.once("close", resolve));
    this.gone = Promise.all([Promise.race([exited, failed]), silent]).then(() => onEvent({ kind: "gone" }));
  }

  tell(line: string): void {
    if (this.#control.writable) this.#control.write(`${line}\n`);
  }

  /** The last resort. The container's PID 1 dies with the shim (PR_SET_PDEATHSIG), its mounts with the mount namespace. */
  destroy(): void {
    this.#child.kill("SIGKILL");
  }

  #hear(text: string, onEvent: (event: ShimEvent) => void): void {
    this.#text += text;
    if (this.#text.length > MAX_LINE_CHARS) return this.destroy();
    const lines = this.#text.split("\n");
    this.#text = lines.pop() ?? "";
    for (const line of lines) onEvent(parseShimLine(line));
  }
}
