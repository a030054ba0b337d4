import { describe, expect, it } from "vitest";
import { Bell } from "../../../core/bell.ts";
import { followWindow } from "../../../worker/window.ts";
import { eventually } from "../../helpers/eventually.ts";

const size = (rows: number) => ({ rows, columns: 80 });

/** A record that answers when it is told to. */
function follow(first: number) {
  const bell = new Bell();
  const over = new AbortController();
  const resized: number[] = [];
  const asked: ((rows: number | undefined) => void)[] = [];
  const read = () =>
    new Promise<ReturnType<typeof size> | undefined>((resolve) =>
      asked.push((rows) => resolve(rows === undefined ? undefined : size(rows))),
    );
  const resize = ({ rows }: { rows: number }) => void resized.push(rows);
  const done = followWindow({ size: size(first), read, bell, resize }, over.signal);
  const answer = async (rows: number | undefined) => {
    await eventually(() => expect(asked).not.toHaveLength(0));
    asked.shift()?.(rows);
    await new Promise(setImmediate);
  };
  return { bell, over, resized, asked, done, answer };
}

describe("the window", () => {
  it("is looked at once when nobody has said anything: a size that came early is applied", async () => {
    const window = follow(24);
    await window.answer(50);
    expect(window.resized).toEqual([50]);
    window.over.abort();
    await window.done;
  });

  it("is left alone while the record has the size that it was made with, or none", async () => {
    const window = follow(24);
    await window.answer(undefined);
    window.bell.ring();
    await window.answer(24);
    expect(window.resized).toEqual([]);
    window.over.abort();
    await window.done;
  });

  it("is read once for a hundred words that come while it is read", async () => {
    const window = follow(24);
    await eventually(() => expect(window.asked).toHaveLength(1));
    for (let i = 0; i < 100; i++) window.bell.ring();
    await window.answer(30);
    await window.answer(40);
    expect(window.asked).toHaveLength(0);
    expect(window.resized).toEqual([30, 40]);
    window.over.abort();
    await window.done;
  });

  it("is not touched once the program has ended, though an answer comes late", async () => {
    const window = follow(24);
    await eventually(() => expect(window.asked).toHaveLength(1));
    window.over.abort();
    await window.answer(30);
    await window.done;
    expect(window.resized).toEqual([]);
  });
});
