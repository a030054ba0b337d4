import { expect, it } from "vitest";
import { parseSwitches } from "../../../infra/arguments.ts";
import { ProgressView } from "../../../infra/progress.ts";

function viewOn(isTTY: boolean): { view: ProgressView; written: string[] } {
  const written: string[] = [];
  return { view: new ProgressView({ isTTY, write: (text) => written.push(text) }), written };
}

const DONE = { kind: "done", step: "redis", ms: 42.4, detail: "127.0.0.1:6390" } as const;

it("is a plain line a step where there is no terminal", () => {
  const { view, written } = viewOn(false);
  view.show({ kind: "begin", step: "redis" });
  view.show(DONE);
  view.show({ kind: "note", text: "port 5000 is in use" });
  view.clear();
  expect(written).toEqual(["  ✓ redis         42 ms  127.0.0.1:6390\n", "  ! port 5000 is in use\n"]);
});

it("keeps what is under way in a live line of a terminal, below what is done", () => {
  const { view, written } = viewOn(true);
  view.show({ kind: "begin", step: "redis" });
  view.show({ kind: "begin", step: "registry" });
  view.show(DONE);
  view.clear();
  expect(written.map((text) => text.replaceAll("\r\u001b[K", "<"))).toEqual([
    "<  … redis",
    "<  … redis, registry",
    "<  ✓ redis         42 ms  127.0.0.1:6390\n  … registry",
    "<",
  ]);
});

it("takes the switches that there are, and refuses any other", () => {
  expect(parseSwitches(["--keep"], ["--keep", "--help"])).toEqual(new Set(["--keep"]));
  expect(() => parseSwitches(["--kep"], ["--keep", "--help"])).toThrow(
    "unknown argument --kep; there are --keep, --help",
  );
});
