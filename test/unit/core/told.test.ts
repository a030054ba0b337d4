import { expect, test } from "vitest";
import { newRunId } from "../../../core/ids.ts";
import { parseTold } from "../../../core/told.ts";

const id = newRunId();
const RECORD = ["id", id, "tenant", "acme", "state", "finished", "attempt", 1, "request", '{"image":"busybox"}'];
const FLAT = [...RECORD, "createdAt", 1_700_000_000_000, "queuedAt", "1700000000000"];
/** As core/transition-parts.ts puts it together. */
const message = (head: unknown[], ...bytes: Buffer[]) =>
  Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), ...bytes]);

test("a small run is told whole, its output byte for byte", () => {
  const [out, err] = [Buffer.from([0x00, 0xff, 0x0a, 0x5b]), Buffer.from("naïve\n")];
  const told = parseTold(message([id, out.length, err.length, FLAT], out, err));
  expect(told).toMatchObject({ id, whole: { record: { id, tenant: "acme", state: "finished", attempt: 1 } } });
  expect(told?.whole?.stdout).toEqual(out);
  expect(told?.whole?.stderr).toEqual(err);
});

test("of a large one only the id is told", () => {
  expect(parseTold(Buffer.from(JSON.stringify([id])))).toEqual({ id });
});

test.each([
  ["no JSON", Buffer.from(id)],
  ["another shape", Buffer.from('{"id": "run_1"}')],
  ["another run's record", message([newRunId(), 0, 0, FLAT])],
  ["a record that cannot be read", message([id, 0, 0, ["id", id]])],
  ["bytes that are missing", message([id, 3, 0, FLAT], Buffer.from("ab"))],
  ["bytes too many", message([id, 1, 0, FLAT], Buffer.from("ab"))],
  ["nothing", Buffer.alloc(0)],
])("%s is not understood, and so not believed", (_, bytes) => {
  expect(parseTold(bytes)).toBeUndefined();
});
