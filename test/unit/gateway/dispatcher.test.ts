import { beforeEach, expect, test } from "vitest";
import { newRunId } from "../../../core/ids.ts";
import { parseRecord, type RunRecord } from "../../../core/record.ts";
import { Dispatcher } from "../../../gateway/dispatch/dispatcher.ts";
import type { RunStore } from "../../../gateway/dispatch/run-store.ts";
import type { Signals } from "../../../gateway/dispatch/signals.ts";

const id = newRunId();
const FROM = { attempt: 1, stdout: 0, stderr: 0 };
const NEVER = new AbortController().signal;
const turn = () => new Promise(setImmediate);

function record(state: string): RunRecord {
  const base = { id, tenant: "t", attempt: "1", request: '{"image":"a"}', createdAt: "0", queuedAt: "0" };
  const made = parseRecord({ ...base, state });
  if (!made) throw new Error("no record");
  return made;
}

/** A store of one run, and signals that the test gives. */
let state: string;
let wake: () => void;
let failSubscribe: boolean;
beforeEach(() => {
  state = "queued";
  wake = () => {};
  failSubscribe = false;
});

function makeDispatcher(maxWaiting: number): Dispatcher {
  const store = {
    submit: async () => id,
    get: async () => record(state),
    whole: async () => ({ record: record(state), stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) }),
    watch: async () => state !== "finished",
    snapshot: async () => ({ record: record(state), stdout: Buffer.alloc(0), stderr: Buffer.alloc(0), more: false }),
  } as unknown as RunStore;
  const listen = (woken: () => void) => {
    wake = woken;
    return () => {};
  };
  const signals = {
    onFinished: (_: string, woken: () => void) => listen(woken),
    onChanged: async (_: string, woken: () => void) => {
      if (failSubscribe) throw new Error("Redis is away");
      return listen(woken);
    },
  } as unknown as Signals;
  return new Dispatcher({ store, signals, gatewayId: "g", maxWaiting, pools: ["default", "gpu"] });
}

test("no more requests wait than may, also if they come at once", async () => {
  const dispatcher = makeDispatcher(2);
  const over = new AbortController();
  const submit = () => dispatcher.submit({ image: "a" }, "t", { waitMs: 60_000, signal: over.signal });
  const answers = [submit(), submit(), submit(), submit(), submit()].map((answer) =>
    answer.then(
      () => "answered",
      (error) => error.reason,
    ),
  );
  await turn();
  over.abort();
  expect((await Promise.all(answers)).toSorted()).toEqual([
    "answered",
    "answered",
    "too_many_waiters",
    "too_many_waiters",
    "too_many_waiters",
  ]);
});

test("a place is given back by whoever is answered, hangs up or has waited long enough", async () => {
  const dispatcher = makeDispatcher(1);
  const wait = (waitMs: number, signal: AbortSignal) => dispatcher.await(id, "t", { waitMs, signal });
  await wait(1, NEVER);
  const gone = new AbortController();
  const hungUp = wait(60_000, gone.signal);
  gone.abort();
  await hungUp;
  const answered = wait(60_000, NEVER);
  await turn();
  await turn();
  state = "finished";
  wake();
  expect((await answered).record.state).toBe("finished");
});

test("a follower that could not listen holds no place", async () => {
  const dispatcher = makeDispatcher(1);
  failSubscribe = true;
  await expect(dispatcher.follow(id, "t", FROM, NEVER).next()).rejects.toThrow("Redis is away");
  failSubscribe = false;
  expect((await dispatcher.follow(id, "t", FROM, NEVER).next()).value).toMatchObject({ kind: "state" });
});

test("too many followers are told at once, before anything is streamed to them", async () => {
  const dispatcher = makeDispatcher(1);
  await dispatcher.follow(id, "t", FROM, NEVER).next();
  expect(() => dispatcher.follow(id, "t", FROM, NEVER)).toThrow(
    expect.objectContaining({ reason: "too_many_waiters" }),
  );
});

test("a follower that is gone already is told nothing, and holds no place", async () => {
  const dispatcher = makeDispatcher(1);
  expect((await dispatcher.follow(id, "t", FROM, AbortSignal.abort()).next()).done).toBe(true);
  expect((await dispatcher.follow(id, "t", FROM, NEVER).next()).done).toBe(false);
});

test.each(["gp", "", "runs", "__proto__"])(
  "a pool that nobody set up is refused, and has no keys made: %j",
  async (pool) => {
    const submitting = makeDispatcher(1).submit({ image: "a", pool }, "t", { waitMs: 0, signal: NEVER });
    await expect(submitting).rejects.toMatchObject({ reason: "invalid_field", details: { field: "pool" } });
  },
);

test("a request that does not wait is never refused for those that do", async () => {
  const dispatcher = makeDispatcher(1);
  const gone = new AbortController();
  const waiting = dispatcher.await(id, "t", { waitMs: 60_000, signal: gone.signal });
  await turn();
  expect((await dispatcher.submit({ image: "a" }, "t", { waitMs: 0, signal: NEVER })).record.state).toBe("queued");
  expect((await dispatcher.await(id, "t", { waitMs: 0, signal: NEVER })).record.state).toBe("queued");
  gone.abort();
  await waiting;
});
