// What every suite is handed, and what it gives back.

import type { ContenderName } from "../arguments.ts";
import { type Open, withContenders } from "../contenders/all.ts";
import type { Contender } from "../contenders/contender.ts";
import type { Say } from "../progress.ts";
import type { SuiteReport } from "../report.ts";
import { absent, type Lane, type Measured } from "../rounds.ts";
import type { Subject } from "../subject.ts";
import type { Workshop } from "../workshop.ts";

export interface Bench {
  readonly workshop: Workshop;
  readonly busybox: Subject;
  readonly names: readonly ContenderName[];
  readonly isQuick: boolean;
  readonly cacheDir: string;
  readonly say: Say;
}

export type Suite = (bench: Bench) => Promise<SuiteReport>;

/** Opens those contenders that are both asked for and of use to the suite. */
export function withThose<T>(
  { workshop, names, say }: Bench,
  { of, subjects }: { of: readonly ContenderName[]; subjects: readonly Subject[] },
  use: (opened: readonly Open[]) => Promise<T>,
): Promise<T> {
  return withContenders({ workshop, names: names.filter((name) => of.includes(name)), subjects, say }, use);
}

/** A lane for each that is there. */
export function lanesOf(
  opened: readonly Open[],
  lanes: (name: string, contender: Contender) => readonly Lane[],
): Lane[] {
  return opened.flatMap(({ name, contender }) => (contender ? lanes(name, contender) : []));
}

/** A row for each that is not, after those that are. */
export function withAbsent(measured: readonly Measured[], opened: readonly Open[], unit: string): Measured[] {
  const missing = opened.filter(({ contender }) => !contender);
  return [...measured, ...missing.map(({ name, reason }) => absent(name, unit, reason))];
}
