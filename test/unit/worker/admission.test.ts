import fc from "fast-check";
import { expect, test } from "vitest";
import type { Capacity } from "../../../core/host.ts";
import { type Demand, Ledger, type Share } from "../../../worker/admission.ts";

const CAPACITY: Capacity = { cpus: 4, memoryBytes: 1024, pids: 100, slots: 3 };
const ONE: Demand = { cpus: 1, memoryBytes: 256, pids: 10 };
/** Sums of fractions of a CPU miss by less than this. */
const EPSILON = 1e-6;

const demands = fc.record({
  cpus: fc.double({ min: 0.01, max: 5, noNaN: true }),
  memoryBytes: fc.integer({ min: 1, max: 1200 }),
  pids: fc.integer({ min: 1, max: 120 }),
});

test("whatever is taken and given back, in any order, what is free is never below nothing nor above capacity", () => {
  const steps = fc.array(fc.oneof(fc.record({ take: demands }), fc.record({ back: fc.nat() })));
  fc.assert(
    fc.property(steps, (walk) => {
      const ledger = new Ledger(CAPACITY);
      const held: { share: Share; demand: Demand }[] = [];
      for (const step of walk) {
        if ("take" in step) {
          const expected = ledger.hasRoomFor(step.take);
          const share = ledger.take(step.take);
          expect(share !== undefined).toBe(expected);
          if (share) held.push({ share, demand: step.take });
        } else if (held.length > 0) {
          const index = step.back % held.length;
          held[index]?.share();
          if (step.back % 2 === 0) held[index]?.share();
          held.splice(index, 1);
        }
        const sum = (of: keyof Demand) => held.reduce((total, { demand }) => total + demand[of], 0);
        for (const of of ["cpus", "memoryBytes", "pids"] as const) {
          expect(ledger.free[of]).toBeGreaterThanOrEqual(-EPSILON);
          expect(ledger.free[of]).toBeLessThanOrEqual(CAPACITY[of] + EPSILON);
          expect(ledger.free[of]).toBeCloseTo(CAPACITY[of] - sum(of), 6);
        }
        expect(ledger.free.slots).toBe(CAPACITY.slots - held.length);
        expect(ledger.free.slots).toBeGreaterThanOrEqual(0);
        expect(ledger.taken).toBe(held.length);
      }
    }),
  );
});

test.each([
  ["CPUs", { ...ONE, cpus: 4.1 }],
  ["memory", { ...ONE, memoryBytes: 1025 }],
  ["processes", { ...ONE, pids: 101 }],
])("a demand for more %s than there is takes nothing, and could never be held", (_, demand) => {
  const ledger = new Ledger(CAPACITY);
  expect(ledger.take(demand)).toBeUndefined();
  expect(ledger.free).toEqual(CAPACITY);
  expect(ledger.couldEverHold(demand)).toBe(false);
});

test("without a slot nothing is taken, however small, though it could be held at another time", () => {
  const ledger = new Ledger({ ...CAPACITY, slots: 1 });
  ledger.take(ONE);
  const tiny = { cpus: 0.01, memoryBytes: 1, pids: 1 };
  expect(ledger.take(tiny)).toBeUndefined();
  expect(ledger.couldEverHold(tiny)).toBe(true);
});

test("a share is given back once", () => {
  const ledger = new Ledger(CAPACITY);
  const first = ledger.take(ONE);
  ledger.take(ONE);
  first?.();
  first?.();
  expect(ledger.taken).toBe(1);
  expect(ledger.free).toEqual({ cpus: 3, memoryBytes: 768, pids: 90, slots: 2 });
});

test("fractions of a CPU that add up to the whole fit into it", () => {
  const ledger = new Ledger({ ...CAPACITY, cpus: 1, slots: 10 });
  const shares = Array.from({ length: 10 }, () => ledger.take({ cpus: 0.1, memoryBytes: 1, pids: 1 }));
  expect(shares.filter((share) => share !== undefined)).toHaveLength(10);
  expect(ledger.take({ cpus: 0.1, memoryBytes: 1, pids: 1 })).toBeUndefined();
});

test("who waits for room is woken by the next share that is given back, and not by a share given back again", async () => {
  const ledger = new Ledger(CAPACITY);
  const [first, second] = [ledger.take(ONE), ledger.take(ONE)];
  const woken: string[] = [];
  const one = ledger.vacated().then(() => woken.push("one"));
  first?.();
  await one;
  const two = ledger.vacated().then(() => woken.push("two"));
  first?.();
  await Promise.resolve();
  expect(woken).toEqual(["one"]);
  second?.();
  await two;
});

test("closed, it promises nothing and says so to who waits; what was promised before is still taken", async () => {
  const ledger = new Ledger(CAPACITY);
  const closed = ledger.vacated();
  ledger.setOpen(false);
  await closed;
  expect(ledger.free).toEqual({ cpus: 0, memoryBytes: 0, pids: 0, slots: 0 });
  expect(ledger.take(ONE)).toBeTypeOf("function");
  expect(ledger.unused).toEqual({ cpus: 3, memoryBytes: 768, pids: 90, slots: 2 });
  const open = ledger.vacated();
  ledger.setOpen(true);
  await open;
  expect(ledger.free).toEqual(ledger.unused);
});
