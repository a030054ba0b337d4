import { expect, test } from "vitest";
import { Gate, retryAfterMs } from "../../../../runtime/registry/gate.ts";

const NEVER = new AbortController().signal;

function answer(status: number, headers: Record<string, string> = {}) {
  return { status, header: (name: string) => headers[name] };
}

test.each([
  ["120", 120_000],
  ["0", 0],
  [" 7 ", 7_000],
  ["Wed, 21 Oct 2026 07:28:30 GMT", 30_000],
  ["Wed, 21 Oct 2026 07:27:00 GMT", 0],
  ["-1", undefined],
  ["1.5", undefined],
  ["soon", undefined],
  ["2026", 2_026_000],
  ["", undefined],
])("Retry-After: %j, sent at 07:28:00, is %s ms", (text, ms) => {
  const headers = { "retry-after": text, date: "Wed, 21 Oct 2026 07:28:00 GMT" };
  expect(retryAfterMs(answer(429, headers))).toBe(ms);
});

test("a moment is measured by our own clock where the answer has no date", () => {
  const inAnHour = new Date(Date.now() + 3_600_000).toUTCString();
  const ms = retryAfterMs(answer(429, { "retry-after": inAnHour })) ?? 0;
  expect(ms).toBeGreaterThan(3_500_000);
  expect(ms).toBeLessThanOrEqual(3_600_000);
});

test.each([
  [429, { "retry-after": "60" }, true],
  [429, {}, true],
  [503, { "retry-after": "60" }, true],
  [503, {}, false],
  [200, { "retry-after": "60" }, false],
  [404, {}, false],
])("status %i with %j closes the gate of its host: %s", async (status, headers, isClosed) => {
  const gate = new Gate();
  gate.hear("a.example", answer(status, headers));
  const passing = gate.pass("a.example", 0, NEVER).then(() => false);
  expect(await passing.catch(({ reason }) => reason === "registry_unavailable")).toBe(isClosed);
  await gate.pass("b.example", 0, NEVER);
});

test("who is sent away is told for how long, and no host sends away for longer than ten minutes at once", async () => {
  const gate = new Gate();
  gate.hear("a.example", answer(429, { "retry-after": "999999999" }));
  await expect(gate.pass("a.example", 10_000, NEVER)).rejects.toMatchObject({
    reason: "registry_unavailable",
    details: { host: "a.example", retryAfterS: 600 },
  });
});

test("an answer that was on its way does not open a gate early that another has closed for longer", async () => {
  const gate = new Gate();
  gate.hear("a.example", answer(429, { "retry-after": "60" }));
  gate.hear("a.example", answer(429, { "retry-after": "0" }));
  gate.hear("a.example", answer(429));
  await expect(gate.pass("a.example", 10_000, NEVER)).rejects.toMatchObject({ details: { retryAfterS: 60 } });
});

test("a wait within the bound ends when the gate opens, and at once when its caller leaves", async () => {
  const gate = new Gate();
  gate.hear("a.example", answer(429, { "retry-after": "1" }));
  const caller = new AbortController();
  const left = gate.pass("a.example", 5_000, caller.signal);
  caller.abort(new Error("enough"));
  await expect(left).rejects.toThrow("enough");
  await gate.pass("a.example", 5_000, NEVER);
  await gate.pass("a.example", 0, NEVER);
});
