// What is typed at a terminal, on its way to the run, less the keys by which one leaves: Ctrl-P, then Ctrl-Q, as docker has it.
//
// One idea: the keys are looked at as they come, not as they are sent. A connection that hangs keeps nobody.

import { Transform, type TransformCallback } from "node:stream";

const CTRL_P = 0x10;
const CTRL_Q = 0x11;

/** So much is looked at without being sent: more than anybody types, and what a paste may hold. */
const UNSENT_BYTES = 1024 * 1024;

/** A Ctrl-P is held back until it is known what follows it. After the keys that leave nothing passes any more. */
export class Keyboard extends Transform {
  readonly #leave: () => void;
  #held = false;
  #left = false;

  constructor(leave: () => void) {
    super({ readableHighWaterMark: UNSENT_BYTES });
    this.#leave = leave;
  }

  override _transform(typed: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    if (this.#left) return done();
    const passed: number[] = [];
    for (const key of typed) {
      if (this.#held && key === CTRL_Q) {
        this.#left = true;
        break;
      }
      if (this.#held) passed.push(CTRL_P);
      this.#held = key === CTRL_P;
      if (!this.#held) passed.push(key);
    }
    if (passed.length > 0) this.push(Buffer.from(passed));
    if (this.#left) this.#leave();
    done();
  }

  /** The keyboard is gone: whatever might have followed will not. */
  override _flush(done: TransformCallback): void {
    if (this.#held && !this.#left) this.push(Buffer.from([CTRL_P]));
    done();
  }
}
