import { expect, test } from "vitest";
import { Turns } from "../../../../runtime/registry/turns.ts";

const NEVER = new AbortController().signal;

test("so many have a turn at a time, the others get theirs in order, and other names do not wait", async () => {
  const turns = new Turns(2);
  const order: string[] = [];
  const [first, second] = [await turns.take("a", NEVER), await turns.take("a", NEVER)];
  const third = turns.take("a", NEVER).then(() => order.push("third"));
  const fourth = turns.take("a", NEVER).then(() => order.push("fourth"));
  await turns.take("b", NEVER);
  expect(order).toEqual([]);
  first();
  first(); // Again does nothing.
  await third;
  expect(order).toEqual(["third"]);
  second();
  await fourth;
  expect(order).toEqual(["third", "fourth"]);
});

test("one who leaves the line is rejected with the signal's reason, and holds up nobody", async () => {
  const turns = new Turns(1);
  const giveBack = await turns.take("a", NEVER);
  const caller = new AbortController();
  const leaving = turns.take("a", caller.signal);
  const staying = turns.take("a", NEVER);
  caller.abort(new Error("enough"));
  await expect(leaving).rejects.toThrow("enough");
  giveBack();
  (await staying)();
  await expect(turns.take("a", caller.signal)).rejects.toThrow("enough");
  (await turns.take("a", NEVER))();
});

test("the line is bounded", async () => {
  const turns = new Turns(1);
  await turns.take("a", NEVER);
  for (let waiting = 0; waiting < 1024; waiting++) void turns.take("a", NEVER);
  await expect(turns.take("a", NEVER)).rejects.toMatchObject({ reason: "registry_unavailable" });
});
