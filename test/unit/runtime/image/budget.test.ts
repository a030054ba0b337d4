import { expect, test } from "vitest";
import { budgetOf, shareOf } from "../../../../runtime/image/budget.ts";

test.each([
  [0, 80],
  [10, 70],
  [60, 20],
  [80, 10],
  [98, 1],
  [100, 0],
])("of a disk of 100 of which others have %i, images may take %i", (others, share) => {
  expect(shareOf(100, others)).toBe(share);
});

test("what is set is the budget, whatever the disk has", async () => {
  expect(await budgetOf("/nowhere", 5, 3)).toBe(5);
});

test("what images take themselves is not taken for others'", async () => {
  expect(await budgetOf("/", undefined, 2 ** 50)).toBeGreaterThanOrEqual(await budgetOf("/", undefined, 0));
});
