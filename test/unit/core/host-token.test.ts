import { expect, test, vi } from "vitest";
import { ClusterSecret } from "../../../core/host-token.ts";

/** A Redis that is asked and does not answer yet. */
function slowRedis() {
  const answer = Promise.withResolvers<string>();
  let asked = 0;
  const get = () => {
    asked++;
    return answer.promise;
  };
  return { answer, asked: () => asked, redis: { set: async () => undefined, get } };
}

test("whoever sends signatures that are wrong, and however many, has Redis asked once at a time", async () => {
  const { answer, asked, redis } = slowRedis();
  const secret = new ClusterSecret(redis);
  const now = vi.spyOn(performance, "now").mockReturnValue(1_000_000); // Long after anything was read.
  const reading = Array.from({ length: 100 }, () => secret.readAgain());
  answer.resolve("the secret");
  expect(new Set(await Promise.all(reading))).toEqual(new Set(["the secret"]));
  expect(asked()).toBe(1);
  now.mockRestore();
});

test("a secret that was read stays while Redis cannot be asked, whoever sends signatures that are wrong meanwhile", async () => {
  const { answer, redis } = slowRedis();
  const secret = new ClusterSecret(redis);
  answer.resolve("the secret");
  await secret.read();
  redis.get = async () => Promise.reject(new Error("Redis is away"));
  const now = vi.spyOn(performance, "now");
  for (let second = 1_000; second < 1_003; second++) {
    now.mockReturnValue(second * 1_000);
    expect(await secret.readAgain()).toBe("the secret");
  }
  redis.get = async () => "another";
  now.mockReturnValue(2_000_000);
  expect(await secret.readAgain()).toBe("another");
  expect(await secret.read()).toBe("another");
  now.mockRestore();
});

test("while Redis says nothing, whoever signs with the secret that is known is not kept waiting", async () => {
  const { answer, redis } = slowRedis();
  const secret = new ClusterSecret(redis);
  answer.resolve("the secret");
  await secret.read();
  redis.get = () => new Promise(() => {});
  const now = vi.spyOn(performance, "now").mockReturnValue(1_000_000);
  void secret.readAgain();
  expect(await secret.read()).toBe("the secret");
  now.mockRestore();
});

test("a secret that could not be read is read again by the next who asks, and the failure of an older reading changes nothing", async () => {
  const { answer, redis } = slowRedis();
  const secret = new ClusterSecret(redis);
  const failing = secret.read();
  answer.reject(new Error("Redis is away"));
  await expect(failing).rejects.toThrow("away");
  redis.get = async () => "the secret";
  expect(await secret.read()).toBe("the secret");
});
