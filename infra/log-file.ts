// What a process of the stack prints, kept in a file of bounded size. The one before is kept beside it as NAME.log.1.

import { closeSync, existsSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";

/** A gateway writes some 300 bytes a request: this is the trace of the last fifty thousand. */
const MAX_BYTES = 16 * 1024 * 1024;

export class LogFile {
  readonly path: string;
  readonly #maxBytes: number;
  #fd: number;
  #bytes = 0;

  /** Starts a new file; the one of the process's last life becomes `path`.1. */
  constructor(path: string, maxBytes: number = MAX_BYTES) {
    this.path = path;
    this.#maxBytes = maxBytes;
    this.#fd = this.#open();
  }

  /** Written at once, so that the last words of a process that dies are there to be read. */
  write(chunk: Buffer): void {
    if (this.#bytes > 0 && this.#bytes + chunk.length > this.#maxBytes) {
      closeSync(this.#fd);
      this.#fd = this.#open();
    }
    writeSync(this.#fd, chunk);
    this.#bytes += chunk.length;
  }

  /** The last lines of this life, for an error message. */
  tail(lines: number): string {
    return readFileSync(this.path, "utf8").trimEnd().split("\n").slice(-lines).join("\n");
  }

  close(): void {
    closeSync(this.#fd);
  }

  #open(): number {
    if (existsSync(this.path)) renameSync(this.path, `${this.path}.1`);
    this.#bytes = 0;
    return openSync(this.path, "w", 0o600);
  }
}
