import { expect, test } from "vitest";
import { Bell } from "../../../core/bell.ts";

test("a ring while nobody waits is kept for the next who does", async () => {
  const bell = new Bell();
  bell.ring();
  await bell.wait();
});

test("several rings before a wait are one", async () => {
  const bell = new Bell();
  bell.ring();
  bell.ring();
  await bell.wait();
  let woken = false;
  const waiting = bell.wait().then(() => {
    woken = true;
  });
  await Promise.resolve();
  expect(woken).toBe(false);
  bell.ring();
  await waiting;
});

test("a ring wakes who waits", async () => {
  const bell = new Bell();
  const waiting = bell.wait();
  bell.ring();
  await waiting;
});
