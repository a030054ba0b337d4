// Side by side: every contender is measured a little in each round, and the rounds are repeated. What the machine does
// meanwhile (a clock that slows down, a neighbour that wakes up) hits all alike, and a ratio within one round least of all.

import { setTimeout as delay } from "node:timers/promises";
import type { Say } from "./progress.ts";

/** One row to be: something that can be measured again and again. */
export interface Lane {
  readonly name: string;
  readonly unit: string;
  /** Asked when all has been measured: some of it is known only then. */
  note(): string;
  /** The samples of one round. */
  measure(): Promise<readonly number[]>;
}

export interface Measured {
  readonly name: string;
  readonly unit: string;
  readonly note: string;
  readonly rounds: readonly (readonly number[])[];
}

export interface Turns {
  readonly rounds: number;
  /** Before each lane: what the one before has left to be tidied up is not to be paid by the next. */
  readonly settleMs: number;
}

/**
 * Measures the lanes in turn, `rounds` times. A lane that fails is left out from then on: its note says why, and it keeps
 * what it had. Never rejects because of a lane.
 */
export async function interleave(lanes: readonly Lane[], { rounds, settleMs }: Turns, say: Say): Promise<Measured[]> {
  const found = new Map<Lane, (readonly number[])[]>(lanes.map((lane) => [lane, []]));
  const failures = new Map<Lane, string>();
  for (let round = 1; round <= rounds; round++) {
    for (const lane of lanes) {
      if (failures.has(lane)) continue;
      say(`round ${round} of ${rounds}: ${lane.name}`);
      await delay(settleMs);
      try {
        found.get(lane)?.push(await lane.measure());
      } catch (error) {
        failures.set(lane, `failed in round ${round}: ${reasonOf(error)}`);
      }
    }
  }
  return lanes.map((lane) => ({
    name: lane.name,
    unit: lane.unit,
    note: [failures.get(lane), lane.note()].filter((part) => part).join("; "),
    rounds: found.get(lane) ?? [],
  }));
}

/** What an error says, on one line, and no more than fits into a note. */
export function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const line = text.trim().replaceAll(/\s*\n\s*/g, " · ");
  return line.length > 300 ? `${line.slice(0, 299)}…` : line;
}

/** A row that was never begun. */
export function absent(name: string, unit: string, note: string): Measured {
  return { name, unit, note, rounds: [] };
}
