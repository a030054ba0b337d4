import { expect, test } from "vitest";
import type { LayerProgress } from "../../../../runtime/image/image.ts";
import { Progress } from "../../../../runtime/image/progress.ts";

const DIGEST = `sha256:${"a".repeat(64)}` as const;
const LAYER = { digest: DIGEST, size: 100 };

function listening() {
  const told: LayerProgress[] = [];
  return { told, progress: new Progress((one) => told.push(one)) };
}

test("bytes are told as they come, each state once, and nothing after the end", () => {
  const { told, progress } = listening();
  for (let bytes = 0; bytes <= 100; bytes++) progress.hear({ ...LAYER, state: "pulling", bytes });
  progress.hear({ ...LAYER, state: "done", bytes: 100 });
  progress.hear({ ...LAYER, state: "done", bytes: 100 });
  progress.hear({ ...LAYER, state: "pulling", bytes: 100 });
  expect(told.map(({ bytes }) => bytes)).toEqual([...Array.from({ length: 101 }, (_, bytes) => bytes), 100]);
  expect(told.map(({ state }) => state)).toEqual([...Array.from({ length: 101 }, () => "pulling"), "done"]);
});

test("bytes never shrink when a download begins anew", async () => {
  const { told, progress } = listening();
  progress.hear({ ...LAYER, state: "pulling", bytes: 50 });
  progress.hear({ ...LAYER, state: "pulling", bytes: 10 });
  expect(told.map(({ bytes }) => bytes)).toEqual([50]);
});

test("at the end every layer was told: what was never heard of is present, what was pulled is done", () => {
  const { told, progress } = listening();
  const other = { digest: `sha256:${"b".repeat(64)}`, size: 7 } as const;
  progress.hear({ ...LAYER, state: "pulling", bytes: 1 });
  progress.finish([LAYER, other]);
  expect(told.slice(1)).toEqual([
    { ...LAYER, state: "done", bytes: 100 },
    { ...other, state: "present", bytes: 7 },
  ]);
});
