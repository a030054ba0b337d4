// One sandbox of the launcher's: its frames turned into a Sandbox.

import { constants } from "node:os";
import { MayflyError } from "../../core/errors.ts";
import { END_SIGNAL } from "../task/end-signal.ts";
import { requestRefused } from "../task/request-refused.ts";
import type { ProcessEnd, ProgramSignal, Sandbox, SandboxEnd, TerminalSize } from "../task/sandbox.ts";
import { signalName } from "../task/signal-name.ts";
import type { FrameConnection, FrameConnections } from "./frames.ts";
import { InputStream, OutputStream } from "./launcher-streams.ts";
import {
  decodeExited,
  decodeFailed,
  decodeStarted,
  encodeFrame,
  encodeResize,
  encodeU32,
  encodeU64,
  FRAME,
  type Frame,
} from "./protocol.ts";

/** How long the launcher may take to remove a sandbox: more than its makers' own limit of 10 s. */
const RELEASE_MS = 15_000;

export class LauncherSandbox implements Sandbox {
  readonly stdin: InputStream;
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  readonly artifacts: OutputStream | undefined;
  readonly ended: Promise<SandboxEnd>;
  readonly programEnded: Promise<void>;
  /** Resolves when the program has been started or has ended; rejects with why it was not. */
  readonly opened: Promise<void>;
  readonly #connections: FrameConnections;
  readonly #connection: FrameConnection;
  readonly #opened = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<SandboxEnd>();
  readonly #programEnded = Promise.withResolvers<void>();
  readonly #released = Promise.withResolvers<string>();
  #started: { startMs: number } | undefined;
  #closing: Promise<void> | undefined;

  constructor(connections: FrameConnections, run: Buffer, { hasArtifacts = false } = {}) {
    this.#connections = connections;
    this.#connection = connections.take();
    this.#connection.onFrame = (frame) => this.#on(frame);
    const send = (frame: Buffer) => this.#send(frame);
    this.stdin = new InputStream(send);
    this.stdout = new OutputStream(1, send);
    this.stderr = new OutputStream(2, send);
    this.artifacts = hasArtifacts ? new OutputStream(3, send) : undefined;
    this.opened = this.#opened.promise;
    this.ended = this.#ended.promise;
    this.programEnded = this.#programEnded.promise;
    // Whoever awaits them is told; nobody has to.
    for (const promise of [this.opened, this.ended, this.programEnded]) promise.catch(() => {});
    this.#connection.onClose = () => this.#onClosed();
    send(run);
  }

  get programStarted(): boolean {
    return this.#started !== undefined;
  }

  get startMs(): number {
    return this.#started?.startMs ?? 0;
  }

  extend(ms: number): void {
    this.#send(encodeU64(FRAME.DEADLINE, Math.max(0, Math.floor(ms))));
  }

  signal(signal: ProgramSignal): void {
    this.#send(encodeU32(FRAME.SIGNAL, constants.signals[signal]));
  }

  resize({ rows, columns }: TerminalSize): void {
    this.#send(encodeResize(rows, columns));
  }

  killProgram(): void {
    if (this.artifacts && this.#started) this.#send(encodeU32(FRAME.SIGNAL, END_SIGNAL));
    else this.kill();
  }

  kill(): void {
    this.#send(encodeFrame(FRAME.KILL));
  }

  close(): Promise<void> {
    this.#closing ??= this.#release();
    return this.#closing;
  }

  /** Nothing may follow RELEASE: the connection may be another sandbox's by then. */
  #send(frame: Buffer): void {
    if (!this.#closing) this.#connection.send(frame);
  }

  #on({ type, stream, payload }: Frame): void {
    switch (type) {
      case FRAME.STARTED:
        this.#started = decodeStarted(payload);
        return this.#opened.resolve();
      case FRAME.OUTPUT:
        return this.#output(stream)?.deliver(payload);
      case FRAME.END:
        if (stream === 0) return void this.stdin.destroy();
        return this.#output(stream)?.finish();
      case FRAME.CREDIT:
        return this.stdin.credit(payload.readUInt32LE(0));
      case FRAME.COLLECTING:
        return this.#programEnded.resolve();
      case FRAME.EXITED:
        this.#opened.resolve(); // 127 and 126 come without a start.
        this.#programEnded.resolve();
        return this.#ended.resolve(toEnd(payload));
      case FRAME.FAILED:
        return this.#fail(toError(payload));
      case FRAME.RELEASED:
        return this.#released.resolve(payload.toString("utf8"));
    }
  }

  #output(stream: number): OutputStream | undefined {
    return [undefined, this.stdout, this.stderr, this.artifacts][stream];
  }

  /** A promise that is settled already stays as it is. */
  #fail(error: MayflyError): void {
    this.#opened.reject(error);
    this.#programEnded.reject(error);
    this.#ended.reject(error);
  }

  /** The launcher is gone, and with it every process that it owned. */
  #onClosed(): void {
    const lost = new MayflyError("host_unavailable", "the launcher was lost", { details: { stage: "launcher" } });
    this.#fail(lost);
    this.#released.resolve("");
    this.#endStreams(lost); // Output that has not come in whole is not to be taken for all there was.
  }

  #endStreams(why?: MayflyError): void {
    this.stdin.destroy();
    for (const output of [this.stdout, this.stderr, this.artifacts])
      if (output && !output.readableEnded) output.destroy(why);
  }

  async #release(): Promise<void> {
    this.#connection.send(encodeFrame(FRAME.RELEASE));
    const overdue = setTimeout(() => this.#released.resolve("it does not come to an end"), RELEASE_MS);
    const why = await this.#released.promise;
    clearTimeout(overdue);
    // Nothing more is heard of it. If the end was heard before, this changes nothing.
    this.#fail(new MayflyError("host_unavailable", "the sandbox was closed", { details: { stage: "closed" } }));
    this.#endStreams();
    if (why) this.#connection.destroy();
    else this.#connections.give(this.#connection);
    if (why) throw new MayflyError("host_unavailable", `a sandbox could not be removed: ${why}`);
  }
}

function toEnd(payload: Buffer): SandboxEnd {
  const { waitStatus, hasFacts, cpuMs, throttledMs, peakMemoryBytes, oomKills } = decodeExited(payload);
  const usage = hasFacts ? { cpuMs, throttledMs, peakMemoryBytes, oomKills } : undefined;
  return { process: toProcessEnd(waitStatus), usage };
}

/** As WIFEXITED and WTERMSIG have it (wait(2)). */
function toProcessEnd(status: number): ProcessEnd {
  const signal = status & 0x7f;
  if (signal === 0) return { kind: "exited", exitCode: (status >> 8) & 0xff };
  return { kind: "signaled", signal: signalName(signal) };
}

function toError(payload: Buffer): MayflyError {
  const { stage, message } = decodeFailed(payload);
  return (
    requestRefused(stage, message) ??
    new MayflyError("host_unavailable", `cannot make a sandbox: ${message}`, { details: { stage } })
  );
}
