import { expect, test } from "vitest";
import { Scope } from "../../../core/scope.ts";

test("what fails to close is reported by name, and does not keep the rest from closing", async () => {
  const scope = new Scope();
  const closed: string[] = [];
  const fault = new Error("busy");
  scope.add("first", () => void closed.push("first"));
  scope.add("second", () => Promise.reject(fault));
  scope.add("third", () => {
    throw fault;
  });
  scope.add("fourth", () => void closed.push("fourth"));
  expect(await scope.close()).toEqual([
    { name: "third", error: fault },
    { name: "second", error: fault },
  ]);
  expect(closed).toEqual(["fourth", "first"]);
});

test("nothing can be added to a scope that closes", async () => {
  const scope = new Scope();
  const closing = scope.close();
  expect(() => scope.add("late", () => {})).toThrow("late");
  await closing;
});

test("each clean-up is over before the one that was added earlier begins", async () => {
  const scope = new Scope();
  const events: string[] = [];
  for (const name of ["a", "b", "c"]) {
    scope.add(name, async () => {
      events.push(`${name} begins`);
      await Promise.resolve();
      events.push(`${name} is over`);
    });
  }
  await scope.close();
  expect(events).toEqual(["c", "b", "a"].flatMap((name) => [`${name} begins`, `${name} is over`]));
});

test("closing twice, or at the same time, closes once and answers the same", async () => {
  const scope = new Scope();
  let times = 0;
  scope.add("it", () => {
    times++;
    throw new Error("no");
  });
  const [first, second] = await Promise.all([scope.close(), scope.close()]);
  const third = await scope.close();
  expect(times).toBe(1);
  expect(first).toBe(second);
  expect(third).toBe(first);
});

test("an empty scope closes without a failure", async () => {
  expect(await new Scope().close()).toEqual([]);
});
