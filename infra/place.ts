// A stack's state directory: one stack at a time has it, and everything that the stack keeps or starts is below it.
//
//   redis/  registry/  image/   what the embedded services keep
//   worker/                     images and sandboxes, the worker's own
//   log/NAME.log                what each process prints
//   pid/NAME                    the processes that are running, or were when the stack was killed

import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { forget, remember, stopLeftovers } from "./leftovers.ts";
import { type Lock, lockDirectory } from "./lock.ts";
import { Process } from "./process.ts";

export class Place {
  readonly path: string;
  readonly #lock: Lock;
  readonly #processes: Process[] = [];
  #isClosing = false;

  private constructor(path: string, lock: Lock) {
    this.path = path;
    this.#lock = lock;
  }

  /** Takes the directory, made if need be, and stops what a killed stack left running there; `note` hears of that. */
  static async open(path: string, note: (text: string) => void): Promise<Place> {
    mkdirSync(path, { recursive: true });
    chmodSync(path, 0o711);
    const lock = await lockDirectory(path);
    const place = new Place(path, lock);
    const names = await stopLeftovers(place.directory("pid"));
    if (names.length > 0) note(`stopped what an earlier stack had left running: ${names.join(", ")}`);
    return place;
  }

  /** A directory below this one, made if need be, that nobody else may enter. */
  directory(name: string): string {
    const path = join(this.path, name);
    mkdirSync(path, { recursive: true, mode: 0o700 });
    return path;
  }

  /** Starts a process whose log and pid are kept here. Throws once the place is closing: nothing is started any more. */
  launch(name: string, argv: readonly [string, ...string[]], env: Readonly<Record<string, string>>): Process {
    if (this.#isClosing) throw new Error("the stack is being stopped");
    const child = new Process({ name, argv, env, logPath: join(this.directory("log"), `${name}.log`) });
    this.#processes.push(child);
    const pids = this.directory("pid");
    remember(pids, name, child.pid);
    child.gone.then(() => forget(pids, name));
    return child;
  }

  /** Rejects when a process that was launched dies by itself. */
  died(): Promise<never> {
    return Promise.race(this.#processes.map((child) => child.died));
  }

  /**
   * Stops what was launched, the last first, each within its limit, and gives the directory back.
   * Asked again, it asks again whatever is still there, within the new limits.
   */
  async close(limitMs: (name: string) => number): Promise<void> {
    this.#isClosing = true;
    for (const child of this.#processes.toReversed()) await child.stop(limitMs(child.name));
    this.#lock.release();
  }
}

/** Writes a file that only its owner may read, whole or not at all. */
export function writePrivate(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** The text of a private file; `make` gives it the first time. */
export function privateOnce(path: string, make: () => string): string {
  if (!existsSync(path)) writePrivate(path, make());
  return readFileSync(path, "utf8");
}
