// A contender: somebody who runs containers. Told as the life of one:
//
//   open(workshop)             its daemon, if it has one, is up
//   prepare(subject)           the image is there, and one container has been run: nothing is done for the first time any more
//   start(subject, pace)       containers one after another, how long each took
//   load(subject, burst)       many side by side, how many a second
//   close()                    its daemon is down

import { existsSync } from "node:fs";
import { join } from "node:path";
import { PLAIN_ENVIRONMENT } from "../../../infra/settings.ts";
import { type Burst, type Pace, rateOf, type Timed, timeEach } from "../native.ts";
import type { Subject } from "../subject.ts";
import type { Workshop } from "../workshop.ts";

export interface Contender {
  /** What a reader must know of how it is measured. May say more once something has been. */
  readonly note: string;
  /** More side by side than this is hopeless, or says nothing; 0 if it is not loaded at all. */
  readonly maxParallel: number;
  prepare(subject: Subject): Promise<void>;
  /** Milliseconds each. */
  start(subject: Subject, pace: Pace): Promise<readonly number[]>;
  /** Containers a second. */
  load(subject: Subject, burst: Burst): Promise<number>;
  /** Stops what was opened. What lies in the workshop goes with the workshop. */
  close(): Promise<void>;
}

/** Rejects, saying why, if it cannot be had on this machine. */
export type OpenContender = (workshop: Workshop) => Promise<Contender>;

export interface CommandContender {
  readonly note: string;
  readonly maxParallel: number;
  /** The command that runs the subject once; see timed-spawn for `{id}`. */
  readonly argv: (subject: Subject) => readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly load?: (subject: Subject) => Promise<unknown>;
  readonly close?: () => Promise<unknown>;
}

/** A contender that is a command line: timed by timed-spawn. */
export function commandContender({ note, maxParallel, argv, env, ...rest }: CommandContender): Contender {
  const timed = (subject: Subject): Timed => ({
    program: "timed-spawn",
    mode: "once",
    args: argv(subject),
    ...(env ? { env } : {}),
  });
  return {
    note,
    maxParallel,
    async prepare(subject) {
      await rest.load?.(subject);
      await timeEach(timed(subject), { count: 1, pauseMs: 0 });
    },
    start: (subject, pace) => timeEach(timed(subject), pace),
    load: (subject, burst) => rateOf(timed(subject), burst),
    close: async () => void (await rest.close?.()),
  };
}

/** Its path. Throws if it is not installed. */
export function findProgram(name: string): string {
  // Debian's own before what somebody has put into /usr/local.
  const directories = PLAIN_ENVIRONMENT.PATH.split(":").toSorted(
    (a, b) => Number(a.includes("local")) - Number(b.includes("local")),
  );
  const found = directories.map((directory) => join(directory, name)).find((path) => existsSync(path));
  if (!found) throw new Error(`${name} is not installed: npm run bench -- --install-peers`);
  return found;
}
