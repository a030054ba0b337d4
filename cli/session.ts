// A person at a terminal, and a run that has one: keys go to the run as they are, the window's size follows this one's, and the
// person may leave without ending anything.
//
// One idea: this terminal is raw exactly while the program runs. Before that Ctrl-C still means this command, and whatever ends
// the session gives the terminal back first.

import type { Readable } from "node:stream";
import type { TerminalSize } from "../core/control.ts";
import type { Client, RunEvent } from "./client.ts";
import { type Io, note } from "./io.ts";
import { Keyboard } from "./keyboard.ts";
import { createLineFeeds } from "./line-feed.ts";
import type { Sink } from "./sink.ts";

export interface Session {
  /** What is typed; undefined if the run is not to be sent it. */
  readonly keys: Readable | undefined;
  /** For what the program writes. */
  readonly stdout: Sink;
  /** Aborts when there is nothing more to show: the person has left, or the session was hung up. */
  readonly over: AbortSignal;
  /** The person has left by the keys that are for it. */
  readonly hasLeft: () => boolean;
  /** To be called when the keys cannot be sent any more: nobody is to sit at a terminal that is dead. */
  readonly hangUp: () => void;
  /** To be shown every event of the run, before anything is printed of it. */
  readonly see: (event: RunEvent) => void;
  /** The terminal is as it was, and no key is read any more. Safe to repeat. */
  readonly close: () => void;
}

export interface SessionOptions {
  readonly id: string;
  readonly client: Client;
  readonly io: Io;
  /** The size that the run was made with. */
  readonly size: TerminalSize;
  /** After so many bytes of its output the run shows nothing more until it ends. */
  readonly liveBytes: number;
  /** Whether the run is sent what is typed. */
  readonly interactive: boolean;
}

const DARK =
  "the output limit is reached, and nothing more is shown until the program ends; Ctrl-P Ctrl-Q leaves (--output-limit)";

export function openSession({ id, client, io, size, liveBytes, interactive }: SessionOptions): Session {
  const { terminal } = io;
  const over = new AbortController();
  let hasLeft = false;
  const leave = () => {
    hasLeft = true;
    over.abort();
  };
  const closing = new AbortController();
  const lineFeeds = createLineFeeds();
  let isRaw = false;
  let shown = 0;
  const setRaw = (on: boolean) => {
    isRaw = on && interactive && !closing.signal.aborted;
    terminal.setRaw(isRaw);
  };
  const tellSize = createSizeTeller({
    told: size,
    read: () => terminal.size(),
    tell: (latest) => client.resizeRun(id, latest, { signal: closing.signal }),
  });
  const deafen = terminal.onResize(tellSize);
  tellSize(); // It may have changed since the run was asked for.
  const keyboard = interactive ? plug(io.stdin(), leave) : undefined;
  return {
    keys: keyboard?.keys,
    stdout: {
      async write(bytes) {
        await io.stdout.write(isRaw && typeof bytes !== "string" ? lineFeeds(bytes) : bytes);
        if (shown === liveBytes) await note(io, DARK); // No event says more of it: the next is the end.
      },
    },
    over: over.signal,
    hasLeft: () => hasLeft,
    hangUp: () => over.abort(),
    see(event) {
      if (event.type === "stdout") shown = event.offset + event.bytes.length;
      if (event.type === "state") setRaw(event.state === "running");
      if (event.type === "end") setRaw(false);
    },
    close() {
      setRaw(false);
      closing.abort();
      deafen();
      keyboard?.unplug();
    },
  };
}

function plug(stdin: Readable, leave: () => void): { keys: Readable; unplug(): void } {
  const keys = new Keyboard(leave);
  // A terminal that has gone away gives an error rather than an end.
  stdin.on("error", () => keys.end());
  stdin.pipe(keys);
  return {
    keys,
    unplug() {
      stdin.destroy(); // An open terminal would keep the process alive. Whoever reads the keys closes them.
    },
  };
}

/**
 * One call at a time, and after it the size is read again: of many changes the last is told, and no other after it. One that cannot
 * be told is let go: the window is drawn wrongly until it changes again.
 */
function createSizeTeller(options: {
  told: TerminalSize;
  readonly read: () => TerminalSize;
  readonly tell: (size: TerminalSize) => Promise<void>;
}): () => void {
  let { told } = options;
  let telling = false;
  const tellLatest = async () => {
    if (telling) return;
    telling = true;
    try {
      for (let size = options.read(); !isSame(size, told); size = options.read()) {
        told = size;
        await options.tell(size);
      }
    } catch {
      // A run that has ended meanwhile, or a gateway that is away: followRun and the keys tell of it.
    } finally {
      telling = false;
    }
  };
  return () => void tellLatest();
}

function isSame(one: TerminalSize, other: TerminalSize): boolean {
  return one.rows === other.rows && one.columns === other.columns;
}
