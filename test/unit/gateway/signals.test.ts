import { EventEmitter } from "node:events";
import type { Redis } from "ioredis";
import { beforeEach, expect, test, vi } from "vitest";
import { channels } from "../../../core/keys.ts";
import { Signals } from "../../../gateway/dispatch/signals.ts";

/** The part of a subscriber that is used, with answers that come when the test says so. */
class Subscriber extends EventEmitter {
  readonly asked: { channel: string; answer: PromiseWithResolvers<void> }[] = [];
  readonly left: string[] = [];

  subscribe(channel: string): Promise<void> {
    const answer = Promise.withResolvers<void>();
    this.asked.push({ channel, answer });
    return answer.promise;
  }

  async unsubscribe(channel: string): Promise<void> {
    this.left.push(channel);
  }
}

let subscriber: Subscriber;
let signals: Signals;
beforeEach(() => {
  subscriber = new Subscriber();
  signals = new Signals(subscriber as unknown as Redis, "g1");
});

const CHANGED = channels.changed("run_1");
const turn = () => new Promise(setImmediate);

test("a second follower of a run listens only once the subscription stands, like the first", async () => {
  let listening = 0;
  const count = () => void listening++;
  void signals.onChanged("run_1", () => {}).then(count);
  void signals.onChanged("run_1", () => {}).then(count);
  await turn();
  expect(listening).toBe(0);
  for (const { answer } of subscriber.asked) answer.resolve();
  await turn();
  expect(listening).toBe(2);
});

test("a subscription that fails fails its follower, and the next follower subscribes anew", async () => {
  const failing = signals.onChanged("run_1", () => {});
  subscriber.asked[0]?.answer.reject(new Error("Redis is away"));
  await expect(failing).rejects.toThrow("Redis is away");
  const next = signals.onChanged("run_1", () => {});
  expect(subscriber.asked).toHaveLength(2);
  subscriber.asked[1]?.answer.resolve();
  await next;
});

/** As Redis says it. */
const say = (channel: string, message: string) =>
  subscriber.emit("messageBuffer", Buffer.from(channel), Buffer.from(message));

test("who waits for a run is woken by its end on this gateway's channel, and by nothing about others", () => {
  const wake = vi.fn();
  const stop = signals.onFinished("run_1", wake);
  say(channels.gateway("g1"), '["run_2"]');
  say(channels.gateway("g2"), '["run_1"]');
  say(channels.gateway("g1"), "nonsense");
  say(CHANGED, "");
  expect(wake).not.toHaveBeenCalled();
  say(channels.gateway("g1"), '["run_1"]');
  expect(wake.mock.calls).toEqual([[undefined]]);
  stop();
  say(channels.gateway("g1"), '["run_1"]');
  expect(wake).toHaveBeenCalledTimes(1);
});

test("after a lost connection everybody is woken, to read for themselves", async () => {
  const [one, two] = [vi.fn(), vi.fn()];
  signals.onFinished("run_1", one);
  void signals.onChanged("run_2", two);
  subscriber.emit("ready");
  expect([one, two].map((wake) => wake.mock.calls.length)).toEqual([1, 1]);
});

test("the channel of a run is left with its last follower", async () => {
  const follow = () => {
    const following = signals.onChanged("run_1", () => {});
    for (const { answer } of subscriber.asked) answer.resolve();
    return following;
  };
  const stops = [await follow(), await follow()];
  stops[0]?.();
  expect(subscriber.left).toEqual([]);
  stops[1]?.();
  expect(subscriber.left).toEqual([CHANGED]);
});
