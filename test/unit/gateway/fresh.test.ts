import { beforeEach, expect, test } from "vitest";
import { Fresh, MAX_AGE_MS } from "../../../gateway/dispatch/fresh.ts";

let now: number;
let reads: { readonly name: string; readonly settle: PromiseWithResolvers<{ value: number } | undefined> }[];
let fresh: Fresh<{ value: number }>;

beforeEach(() => {
  now = 0;
  reads = [];
  const read = (name: string) => {
    const settle = Promise.withResolvers<{ value: number } | undefined>();
    reads.push({ name, settle });
    return settle.promise;
  };
  fresh = new Fresh(read, () => now);
});

const settle = async (at: number, value: { value: number } | undefined) => {
  reads[at]?.settle.resolve(value);
  await new Promise(setImmediate);
};
const known = async (value: number) => {
  const answer = fresh.get("a");
  await settle(reads.length - 1, { value });
  expect(await answer).toEqual({ value });
};

test("what is asked for by many at once is read once, and what is known is answered at once", async () => {
  const answers = [fresh.get("a"), fresh.get("a"), fresh.get("a")];
  await settle(0, { value: 1 });
  expect(await Promise.all(answers)).toEqual(Array(3).fill({ value: 1 }));
  expect(fresh.get("a")).toEqual({ value: 1 });
  expect(reads).toHaveLength(1);
});

test("what is in use is read again while it is answered, and nobody waits for that", async () => {
  await known(1);
  now = 1_500;
  expect(fresh.get("a")).toEqual({ value: 1 });
  expect(fresh.get("a")).toEqual({ value: 1 });
  expect(reads).toHaveLength(2);
  await settle(1, { value: 2 });
  expect(fresh.get("a")).toEqual({ value: 2 });
});

test("nothing is given out that was read longer ago than the bound, whether or not it can be read again", async () => {
  await known(1);
  now = MAX_AGE_MS + 1;
  const answer = fresh.get("a");
  reads[1]?.settle.reject(new Error("Redis is away"));
  await expect(answer).rejects.toThrow("Redis is away");
});

test("an answer that took longer than the bound is refused: it tells of what was", async () => {
  const answer = fresh.get("a");
  now = MAX_AGE_MS + 1;
  reads[0]?.settle.resolve({ value: 1 });
  await expect(answer).rejects.toMatchObject({ reason: "queue_unavailable" });
  void Promise.resolve(fresh.get("a")).catch(() => {});
  expect(reads).toHaveLength(2);
});

test("a failure to read again is told to nobody while what is known is young enough", async () => {
  await known(1);
  now = 1_500;
  fresh.get("a");
  reads[1]?.settle.reject(new Error("Redis is away"));
  await new Promise(setImmediate);
  expect(fresh.get("a")).toEqual({ value: 1 });
});

test("what is forgotten is read again, and what was under way then is not remembered", async () => {
  await known(1);
  now = 1_500;
  fresh.get("a");
  fresh.forget("a");
  await settle(1, { value: 1 });
  const answer = fresh.get("a");
  expect(reads).toHaveLength(3);
  await settle(2, { value: 3 });
  expect(await answer).toEqual({ value: 3 });
  fresh.forgetAll();
  expect(fresh.get("a")).toBeInstanceOf(Promise);
});

test("what is not there is not remembered, and what goes away is forgotten", async () => {
  const answer = fresh.get("a");
  await settle(0, undefined);
  expect(await answer).toBeUndefined();
  await known(1);
  now = 1_500;
  fresh.get("a");
  await settle(2, undefined);
  expect(fresh.get("a")).toBeInstanceOf(Promise);
});

test("at most ten thousand names are remembered; the one that was read longest ago goes", async () => {
  for (let i = 0; i <= 10_000; i++) {
    const answer = fresh.get(`n${i}`);
    reads[i]?.settle.resolve({ value: i });
    await answer;
  }
  expect(fresh.get("n1")).toEqual({ value: 1 });
  expect(fresh.get("n0")).toBeInstanceOf(Promise);
});
