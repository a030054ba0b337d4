import { expect, test } from "vitest";
import { LEASE_MS } from "../../../core/offer.ts";
import { FENCE_MARGIN_MS, RENEW_MS, runTransition, transitions } from "../../../core/transitions.ts";

const KEYS = ["{mayfly}:run:1"];

test("a script that Redis knows is named by its hash alone", async () => {
  const calls: unknown[][] = [];
  const client = {
    evalsha: async (...args: unknown[]) => void calls.push(args),
    eval: () => Promise.reject(new Error("not needed")),
  };
  await runTransition(client, transitions.recall, KEYS, ["a", 1]);
  expect(calls).toEqual([[transitions.recall.sha1, 1, ...KEYS, "a", 1]]);
});

test("a Redis that does not know a script is told it", async () => {
  const client = {
    evalsha: () => Promise.reject(new Error("NOSCRIPT No matching script.")),
    eval: async (lua: string, ...args: unknown[]) => [lua === transitions.recall.lua, ...args],
  };
  expect(await runTransition(client, transitions.recall, KEYS, ["a", 1])).toEqual([true, 1, ...KEYS, "a", 1]);
});

test("a script that fails is not sent again", async () => {
  const client = {
    evalsha: () => Promise.reject(new Error("ERR user_script:1: no")),
    eval: () => Promise.reject(new Error("sent twice")),
  };
  await expect(runTransition(client, transitions.recall, KEYS, [])).rejects.toThrow("user_script");
});

test("two renewals may be lost before the sandbox's deadline, which ends before the hold does", () => {
  expect(2 * RENEW_MS).toBeLessThan(LEASE_MS - FENCE_MARGIN_MS);
  expect(FENCE_MARGIN_MS).toBeGreaterThan(0);
});
