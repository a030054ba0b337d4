import { expect, test } from "vitest";
import { SingleFlight } from "../../../../runtime/layer/single-flight.ts";

const NEVER = new AbortController().signal;

/** Work that ends when it is told to, and fails with the signal's reason when that aborts, after a clean-up. */
function controllable() {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const cleaned = Promise.withResolvers<void>();
  const starts: AbortSignal[] = [];
  const work = (signal: AbortSignal) => {
    starts.push(signal);
    signal.addEventListener("abort", () => void cleaned.promise.then(() => reject(signal.reason)));
    return promise;
  };
  return { work, resolve, reject, starts, cleanUp: cleaned.resolve };
}

test("callers of one key share one piece of work, and one of them leads it", async () => {
  const flights = new SingleFlight<string>();
  const { work, resolve, starts } = controllable();
  const boardings = [1, 2, 3].map(() => flights.join("key", NEVER, work));
  resolve("done");
  expect(await Promise.all(boardings.map(({ result }) => result))).toEqual(["done", "done", "done"]);
  expect(boardings.map(({ led }) => led)).toEqual([true, false, false]);
  expect(starts).toHaveLength(1);
});

test("work that has settled is not remembered, neither its result nor its error", async () => {
  const flights = new SingleFlight<string>();
  await expect(flights.join("key", NEVER, () => Promise.reject(new Error("no"))).result).rejects.toThrow("no");
  expect(await flights.join("key", NEVER, async () => "first").result).toBe("first");
  expect(await flights.join("key", NEVER, async () => "second").result).toBe("second");
});

test("a caller that gives up is rejected at once, and the others get their result", async () => {
  const flights = new SingleFlight<string>();
  const { work, resolve, starts } = controllable();
  const leaver = new AbortController();
  const left = flights.join("key", leaver.signal, work).result;
  const stayed = flights.join("key", NEVER, work).result;
  leaver.abort(new Error("enough"));
  await expect(left).rejects.toThrow("enough");
  expect(starts[0]?.aborted).toBe(false);
  resolve("done");
  expect(await stayed).toBe("done");
});

test("the last caller to give up is rejected only when the work has cleaned up", async () => {
  const flights = new SingleFlight<string>();
  const { work, starts, cleanUp } = controllable();
  const leaver = new AbortController();
  let settled = false;
  const left = flights.join("key", leaver.signal, work).result.finally(() => {
    settled = true;
  });
  leaver.abort(new Error("enough"));
  expect(starts[0]?.reason).toEqual(new Error("enough"));
  await Promise.resolve();
  expect(settled).toBe(false);
  cleanUp();
  await expect(left).rejects.toThrow("enough");
});

test("a caller that comes while abandoned work cleans up starts anew", async () => {
  const flights = new SingleFlight<string>();
  const abandoned = controllable();
  const leaver = new AbortController();
  const left = flights.join("key", leaver.signal, abandoned.work).result;
  leaver.abort(new Error("enough"));
  expect(await flights.join("key", NEVER, async () => "anew").result).toBe("anew");
  abandoned.cleanUp();
  await expect(left).rejects.toThrow("enough");
});

test("a caller whose signal has aborted is rejected even if the work succeeds", async () => {
  const flights = new SingleFlight<string>();
  await expect(flights.join("key", AbortSignal.abort(new Error("before")), async () => "done").result).rejects.toThrow(
    "before",
  );
});
