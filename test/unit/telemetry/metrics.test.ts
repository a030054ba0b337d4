import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Metrics } from "../../../telemetry/metrics.ts";
import { prometheusText } from "../../../telemetry/prometheus.ts";
import { parsePrometheus } from "../../helpers/prometheus-text.ts";

const samplesOf = async (metrics: Metrics, name: string) =>
  parsePrometheus(await prometheusText(metrics)).get(name)?.samples;

describe("a counter", () => {
  it("counts each combination of labels by itself, and is 0 from the start if it has none", async () => {
    const metrics = new Metrics();
    const eggs = metrics.counter("eggs_total", "Laid.", ["colour", "size"]);
    metrics.counter("hens_total", "Seen.");
    eggs.add({ colour: "white", size: "m" });
    eggs.add({ size: "m", colour: "white" }, 2);
    eggs.add({ colour: "brown", size: "m" });
    expect([...((await samplesOf(metrics, "eggs_total")) ?? [])]).toEqual([
      ['eggs_total{colour="white",size="m"}', 3],
      ['eggs_total{colour="brown",size="m"}', 1],
    ]);
    expect([...((await samplesOf(metrics, "hens_total")) ?? [])]).toEqual([["hens_total", 0]]);
  });

  it("whose labels turn out not to be of a closed set keeps a bounded number of them, and counts on", async () => {
    const metrics = new Metrics();
    const counter = metrics.counter("x_total", "X.", ["id"]);
    for (let i = 0; i < 10_000; i++) counter.add({ id: String(i) });
    const samples = await samplesOf(metrics, "x_total");
    expect(samples?.size).toBe(501);
    expect(samples?.get('x_total{id="other"}')).toBe(9_500);
  });

  it("of a name that there is already is refused", () => {
    const metrics = new Metrics();
    metrics.counter("x_total", "X.");
    expect(() => metrics.histogram("x_total", "X.", [])).toThrow("two metrics x_total");
  });
});

describe("a histogram", () => {
  it("has every value in each bucket that is not below it", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.double({ min: 0, max: 3, noNaN: true }), { minLength: 1 }), async (values) => {
        const metrics = new Metrics();
        const histogram = metrics.histogram("x_seconds", "X.", ["of"], [0.5, 1, 2]);
        for (const value of values) histogram.observe({ of: "a" }, value);
        const samples = await samplesOf(metrics, "x_seconds");
        for (const bound of [0.5, 1, 2, Number.POSITIVE_INFINITY]) {
          const le = bound === Number.POSITIVE_INFINITY ? "+Inf" : String(bound);
          const expected = values.filter((value) => value <= bound).length;
          expect(samples?.get(`x_seconds_bucket{of="a",le="${le}"}`)).toBe(expected);
        }
        expect(samples?.get('x_seconds_count{of="a"}')).toBe(values.length);
        expect(samples?.get('x_seconds_sum{of="a"}')).toBeCloseTo(values.reduce((sum, value) => sum + value, 0));
      }),
    );
  });
});

describe("a gauge", () => {
  it("is read when it is asked for", async () => {
    const metrics = new Metrics();
    let value = 1;
    metrics.gauge("x", "X.", () => [{ labels: {}, value }]);
    expect((await samplesOf(metrics, "x"))?.get("x")).toBe(1);
    value = 2;
    expect((await samplesOf(metrics, "x"))?.get("x")).toBe(2);
  });

  it.each([
    ["throws", () => Promise.reject(new Error("Redis is away"))],
    ["never ends", () => new Promise<never>(() => {})],
  ])("whose reading %s is left out, and the others are told", async (_, read) => {
    const metrics = new Metrics();
    metrics.gauge("lost", "X.", read);
    metrics.gauge("there", "X.", () => [{ labels: {}, value: 7 }]);
    expect([...parsePrometheus(await prometheusText(metrics)).keys()]).toEqual(["there"]);
  });
});

describe("Prometheus' text", () => {
  it("keeps what a label has, whatever it has", async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "grapheme-ascii" }), async (text) => {
        const metrics = new Metrics();
        metrics.counter("x_total", 'It\'s "X",\nor \\.', ["of"]).add({ of: `${text}\n"\\` });
        const [line = ""] = [...((await samplesOf(metrics, "x_total")) ?? new Map()).keys()];
        const label = line.slice('x_total{of="'.length, -'"}'.length);
        expect(label.replaceAll(/\\(.)/g, (_: string, mark: string) => (mark === "n" ? "\n" : mark))).toBe(
          `${text}\n"\\`,
        );
      }),
    );
  });
});
