// One line at a terminal, drawn again and again in its place, for a run whose image is still being fetched.

import type { Pulling } from "../core/run.ts";
import { humanSize } from "./human-size.ts";
import type { Io } from "./io.ts";

const CLEAR = "\r\u001b[K";

export class PullLine {
  readonly #io: Pick<Io, "stderr" | "terminal">;
  #isDrawn = false;

  constructor(io: Pick<Io, "stderr" | "terminal">) {
    this.#io = io;
  }

  /** Nothing where nobody looks. */
  async draw(pulling: Pulling): Promise<void> {
    if (!this.#io.terminal.isOutput) return;
    this.#isDrawn = true;
    const { columns } = this.#io.terminal.size();
    await this.#io.stderr.write(`${CLEAR}${textOf(pulling).slice(0, columns - 1)}`);
  }

  /** To be called before anything else is written. */
  async clear(): Promise<void> {
    if (!this.#isDrawn) return;
    this.#isDrawn = false;
    await this.#io.stderr.write(CLEAR);
  }
}

function textOf({ layers, layersDone, bytes, size, bytesPerSecond }: Pulling): string {
  if (layers === 0) return "pulling: asking the registry";
  const layersText = `${layersDone} of ${layers} ${layers === 1 ? "layer" : "layers"}`;
  return `pulling: ${layersText}, ${humanSize(bytes)} of ${humanSize(size)}, ${humanSize(bytesPerSecond)}/s`;
}
