// A sandbox: one fresh container, used once. Told as the life of one:
//
//   driver.open(spec)      its root file system is mounted, its cgroup and namespaces are made, its program is started
//   sandbox.extend(ms)     … again and again: without it the sandbox is killed when its deadline passes
//   sandbox.ended          PID 1 is gone; the cgroup's counters have been read, and are part of the answer
//   sandbox.close()        its cgroup, mounts, namespaces and directories are gone; safe at any time, safe to repeat
//
// Both drivers (`launcher`, `oci`) keep to this, and one contract suite holds them to it.

import type { Readable, Writable } from "node:stream";
import type { Image } from "../image/image.ts";

export interface SandboxLimits {
  /** CPUs' worth of time; 0.5 is half of one. */
  readonly cpus: number;
  readonly memoryBytes: number;
  /** Processes and threads of the program. */
  readonly pids: number;
  /** Of the writable layer. */
  readonly diskBytes: number;
}

export interface TerminalSize {
  readonly rows: number;
  readonly columns: number;
}

/** A file that is there before the program is; its directories are made if they are missing. */
export interface SandboxFile {
  /** Absolute. */
  readonly path: string;
  /** Permissions, such as 0o644. It is the program's user's. */
  readonly mode: number;
  readonly content: Uint8Array;
}

/** Files that are to be had of the container once its program has ended. */
export interface SandboxArtifacts {
  /** Absolute, at least one: `*`, `?` and `[…]` within a name, `**` for any number of directories. What is in a directory that is named is, too. */
  readonly patterns: readonly string[];
  readonly maxFiles: number;
  /** Of all of them together. */
  readonly maxBytes: number;
}

/** One whose bytes come as they are wanted. */
export interface StreamedFile {
  /** As of a SandboxFile; one that ends in a slash is a directory, which is made if it is missing, and has no bytes. */
  readonly path: string;
  readonly mode: number;
  readonly bytes: number;
  readonly content: AsyncIterable<Uint8Array>;
}

export interface SandboxSpec {
  /** Unique on the host; names the container, its cgroup and its directories. Letters, digits, `_` and `-`. */
  readonly id: string;
  readonly image: Image;
  /** Program and arguments; the program is found on the container's PATH. */
  readonly argv: readonly string[];
  /** `NAME=value`. */
  readonly env: readonly string[];
  /** Absolute; made if it is missing. */
  readonly workdir: string;
  /** As a Dockerfile's USER; "" is root. */
  readonly user: string;
  readonly hostname: string;
  readonly limits: SandboxLimits;
  /**
   * The program's stdin, stdout and stderr are a pseudo-terminal of this size, its controlling terminal; what it writes comes by
   * stdout, and stderr is empty.
   */
  readonly terminal?: TerminalSize | undefined;
  /** Written first, in order; read once, no faster than they are written. Not with a terminal. */
  readonly streamed?: AsyncIterable<StreamedFile> | undefined;
  /** Written in order, in place of files that are there. Not with a terminal. */
  readonly files?: readonly SandboxFile[] | undefined;
  readonly artifacts?: SandboxArtifacts | undefined;
  /** The sandbox is killed this long after `open` is called, unless `extend` is called first. */
  readonly deadlineMs: number;
}

/** What the cgroup counted, read after the last process was gone and before the cgroup was removed. */
export interface Usage {
  readonly cpuMs: number;
  readonly throttledMs: number;
  /** Undefined where the kernel does not count it. */
  readonly peakMemoryBytes: number | undefined;
  /** Processes that the kernel's OOM killer ended for this cgroup's limit. */
  readonly oomKills: number;
}

/** How the program ended, as wait(2) has it. */
export type ProcessEnd =
  | { readonly kind: "exited"; readonly exitCode: number }
  | { readonly kind: "signaled"; readonly signal: NodeJS.Signals };

export interface SandboxEnd {
  readonly process: ProcessEnd;
  /** Undefined if the counters could not be read; never made up. */
  readonly usage: Usage | undefined;
}

/** What the program may be sent while it goes on; SIGKILL is `kill`. */
export type ProgramSignal = "SIGHUP" | "SIGINT" | "SIGQUIT" | "SIGTERM" | "SIGUSR1" | "SIGUSR2" | "SIGWINCH";

export interface Sandbox {
  readonly stdin: Writable;
  /** Ends when every process that held the stream is gone. Reading slowly slows the program and nothing else. */
  readonly stdout: Readable;
  readonly stderr: Readable;
  /**
   * If artifacts were asked for: a tar of them, from a container that is not to be trusted, as init/artifacts.h has it. It begins when
   * the program has ended, is cut short if the sandbox is killed, and holds the sandbox open until it is read.
   */
  readonly artifacts?: Readable | undefined;
  /** Resolves when the program has ended: then nothing is left but to collect. Before `ended` only if artifacts were asked for; rejects as it does. */
  readonly programEnded: Promise<void>;
  /** False if there was nothing to execute: the program does not exist in the image, or is none. Then it has ended already. */
  readonly programStarted: boolean;
  /** Of the time that `open` took, the part from the finished container to the program's first instruction. */
  readonly startMs: number;
  /**
   * Rejects with `host_unavailable` if the deadline passed, or the sandbox's supervisor was lost: the container is dead, but
   * that is not how its program ended.
   */
  readonly ended: Promise<SandboxEnd>;
  /** The sandbox lives for `ms` more from now, instead of what was set before. */
  extend(ms: number): void;
  /** To the program alone; its children get what it passes on. */
  signal(signal: ProgramSignal): void;
  /** The terminal's new size, of which the kernel tells the program by SIGWINCH. Does nothing without a terminal. */
  resize(size: TerminalSize): void;
  /** SIGKILL to every process of the program's; artifacts are collected all the same. Without any it is `kill`. */
  killProgram(): void;
  /** SIGKILL to every process of the sandbox, at once. */
  kill(): void;
  /** Kills what still runs and removes everything. Resolves when it is gone; rejects if something could not be removed. */
  close(): Promise<void>;
}

/** Is handed the way to extend a sandbox's deadline as soon as there is a sandbox: making it may take longer than its deadline. */
export type Guard = (extend: (ms: number) => void) => void;

/** Sandboxes that are made ahead of need, and have no run yet. */
export interface Blanks {
  readonly ready: number;
  /** As many as are to be ready now. */
  readonly wanted: number;
  /** Names of the cgroups of those that are ready or being made. */
  readonly cgroups: readonly string[];
}

export interface SandboxDriver {
  readonly name: string;
  blanks?(): Promise<Blanks>;
  /**
   * Resolves once the program has been started (or has already ended). When it rejects nothing is left on the host.
   * Errors: `invalid_field` (no such user in the image, a working directory that cannot be), `host_unavailable`.
   * An aborted `signal` kills what was made so far and rejects with the signal's reason.
   */
  open(spec: SandboxSpec, signal: AbortSignal, guard?: Guard): Promise<Sandbox>;
  /** Removes every sandbox of this host that an earlier process left behind. Answers the ids it found. */
  removeLeftovers(): Promise<string[]>;
  /** To be called when no sandbox is open any more. */
  close(): Promise<void>;
}
