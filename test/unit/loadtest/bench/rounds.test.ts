import { describe, expect, it } from "vitest";
import { interleave, type Lane, reasonOf } from "../../../../loadtest/bench/rounds.ts";

const silent = () => {};

function lane(name: string, measure: () => number[]): Lane {
  return { name, unit: "ms", note: () => "a note", measure: async () => measure() };
}

describe("rounds", () => {
  it("measure everybody in turn, and then again", async () => {
    const order: string[] = [];
    const lanes = ["a", "b", "c"].map((name) => lane(name, () => [order.push(name)]));
    const found = await interleave(lanes, { rounds: 2, settleMs: 0 }, silent);
    expect(order.join("")).toBe("abcabc");
    expect(found[1]).toEqual({ name: "b", unit: "ms", note: "a note", rounds: [[2], [5]] });
  });

  it("go on without one that fails, which keeps what it had and says why", async () => {
    let calls = 0;
    const failing = lane("bad", () => {
      if (++calls === 2) throw new Error("no more");
      return [calls];
    });
    const [bad, good] = await interleave([failing, lane("good", () => [1])], { rounds: 3, settleMs: 0 }, silent);
    expect(calls).toBe(2);
    expect(bad).toEqual({ name: "bad", unit: "ms", note: "failed in round 2: no more; a note", rounds: [[1]] });
    expect(good?.rounds).toEqual([[1], [1], [1]]);
  });
});

describe("a reason", () => {
  it("is one line of bounded length, whatever was said", () => {
    expect(reasonOf(new Error("first\n  second\n"))).toBe("first · second");
    expect(reasonOf("x".repeat(1_000))).toHaveLength(300);
  });
});
