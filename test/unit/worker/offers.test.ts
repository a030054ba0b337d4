// What a worker makes of messages that do not come, and of room that is taken meanwhile. Redis is played by the test.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Room } from "../../../core/offer.ts";
import { parseRecord } from "../../../core/record.ts";
import { RENEW_MS } from "../../../core/transitions.ts";
import { Ledger } from "../../../worker/admission.ts";
import { Intake } from "../../../worker/intake.ts";
import { Offers, type OffersOptions } from "../../../worker/offers.ts";
import { eventually } from "../../helpers/eventually.ts";
import { heardLog } from "../../helpers/heard-log.ts";

const FLAT = {
  tenant: "acme",
  state: "starting",
  attempt: "1",
  request: '{"image":"busybox"}',
  createdAt: "1",
  queuedAt: "1",
  holder: "life-1",
};
const flatOf = (id: string) => Object.entries({ id, ...FLAT }).flat();

let given: number;
let waiting: number;
let held: { id: string; attempt: number; holder: string }[];
let offered: Room[];
let released: string[];
let started: { id: string; takenAtMs: number }[];
let say: (message: string) => void;
let sayWaiting: () => void;
let ledger: Ledger;
let offers: Offers;

beforeEach(async () => {
  vi.useFakeTimers();
  [given, waiting, held, offered, released, started] = [0, 0, [], [], [], []];
  ledger = new Ledger({ cpus: 2, memoryBytes: 2 ** 30, pids: 1000, slots: 8 });
  const store = {
    offer: async (_pool: string, room: Room) => {
      offered.push(room);
      return { given, waiting };
    },
    withdraw: async () => given,
    heldBy: async () => held,
    renew: async () => "held",
    recall: async ({ id }: { id: string }) => parseRecord({ id, ...FLAT }),
    release: async ({ id }: { id: string }) => void released.push(id),
  };
  const messages = {
    onWaiting: async (_: string, hear: () => void) => {
      sayWaiting = hear;
    },
    onHanded: async (_: string, take: typeof say) => {
      say = take;
    },
  };
  const intake = new Intake(async ({ id }, takenAtMs) => void started.push({ id, takenAtMs }));
  offers = new Offers({
    ...{ pool: "default", hostId: "h", incarnation: "life-1", ledger, intake },
    ...({ store, messages, log: heardLog() } as unknown as Pick<OffersOptions, "store" | "messages" | "log">),
  });
  await offers.start();
});

afterEach(async () => {
  offers.stop();
  vi.useRealTimers();
});

const handed = (id: string, series: number, number: number) => say(JSON.stringify([series, number, flatOf(id)]));
const ids = () => started.map(({ id }) => id);

test("a run that was given and of which nothing was heard is found at the second beat", async () => {
  given = 1;
  held = [
    { id: "run_lost", attempt: 1, holder: "life-1" },
    { id: "run_of_another_life", attempt: 1, holder: "life-0" },
  ];
  await vi.advanceTimersByTimeAsync(RENEW_MS);
  expect(ids()).toEqual([]); // It may still be on its way.
  given = 1;
  await vi.advanceTimersByTimeAsync(RENEW_MS);
  expect(ids()).toEqual(["run_lost"]);
  expect(offered.at(-1)?.heard).toEqual({ series: 2, seen: 0 });
  handed("run_lost", 1, 1); // Late, but it comes: it is over by now, and not started twice.
  await vi.advanceTimersByTimeAsync(0);
  expect(ids()).toEqual(["run_lost"]);
});

test("a run is held from the last question by which it had not been given", async () => {
  const at: number[] = [];
  for (const count of [0, 1, 1, 2]) {
    given = count;
    at.push(performance.now());
    await vi.advanceTimersByTimeAsync(RENEW_MS);
    if (count === 1 && at.length === 2) handed("run_1", 1, 1);
  }
  handed("run_2", 1, 2);
  await vi.advanceTimersByTimeAsync(0);
  const [first, second] = started.map(({ takenAtMs }) => takenAtMs);
  // Asked at 3 s: nothing given yet; at 6 s and 9 s: one; at 12 s: two.
  expect(first).toBeCloseTo((at[0] ?? 0) + RENEW_MS, 0);
  expect(second).toBeCloseTo((at[2] ?? 0) + RENEW_MS, 0);
});

test("a run that was given without there being room for it is given up", async () => {
  ledger.take({ cpus: 2, memoryBytes: 1, pids: 1 });
  handed("run_1", 1, 1);
  await vi.advanceTimersByTimeAsync(1);
  expect([ids(), released]).toEqual([[], ["run_1"]]);
});

test("a run of which only the name is said is looked up", async () => {
  say(JSON.stringify([1, 1, ["id", "run_long", "attempt", "1"]]));
  await vi.advanceTimersByTimeAsync(1);
  expect(ids()).toEqual(["run_long"]);
});

test("once somebody waits, each share that is given back is told, however small", async () => {
  vi.useRealTimers();
  waiting = 1;
  sayWaiting();
  await eventually(() => expect(offered).toHaveLength(2));
  for (let times = 1; times <= 3; times++) {
    ledger.take({ cpus: 0.1, memoryBytes: 1, pids: 1 })?.();
    await eventually(() => expect(offered).toHaveLength(2 + times));
  }
});
