import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Pulling } from "../../../core/run.ts";
import type { LayerProgress } from "../../../runtime/index.ts";
import { PullReport } from "../../../worker/pull-report.ts";

const layer = (name: string, state: LayerProgress["state"], bytes: number) =>
  ({ digest: `sha256:${name}`, state, bytes, size: 100 }) as LayerProgress;

describe("the report of a pull", () => {
  let told: Pulling[] = [];
  let tell: (pulling: Pulling) => Promise<void>;
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] });
    told = [];
    tell = async (pulling) => void told.push(pulling);
  });
  afterEach(() => vi.useRealTimers());
  const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

  it("says nothing of an image that is there at once", async () => {
    const report = new PullReport(tell);
    report.hear(layer("a", "present", 100));
    report.end();
    await pass(10_000);
    expect(told).toEqual([]);
  });

  it("sums the layers that were lacking, at most four times a second", async () => {
    const report = new PullReport(tell);
    report.hear(layer("a", "present", 100));
    for (let bytes = 0; bytes < 50; bytes++) report.hear(layer("b", "pulling", bytes));
    report.hear(layer("c", "done", 100));
    await pass(250);
    expect(told).toEqual([{ layers: 2, layersDone: 1, bytes: 149, size: 200, bytesPerSecond: 596 }]);
    await pass(10_000);
    expect(told).toHaveLength(1); // Nothing has come since.
    report.hear(layer("b", "done", 100));
    await pass(250);
    expect(told.at(-1)).toMatchObject({ layersDone: 2, bytes: 200 });
    report.end();
  });

  it("waits for one to be told before it tells the next, and tells again what could not be told", async () => {
    const slow = Promise.withResolvers<void>();
    let tries = 0;
    const report = new PullReport((pulling) => (tries++ === 0 ? slow.promise : tell(pulling)));
    await pass(250);
    report.hear(layer("a", "pulling", 1));
    await pass(2_000);
    expect(tries).toBe(1);
    slow.reject(new Error("Redis is away"));
    await pass(250);
    expect(told).toMatchObject([{ layers: 1, bytes: 1 }]);
    report.end();
  });
});
