import { expect, test } from "vitest";
import { choosePlatform, formatPlatform, linuxPlatform, type Platform } from "../../../../runtime/image/platform.ts";

function choose(host: string, ...offers: string[]): string | undefined {
  const chosen = choosePlatform(
    offers.map((offer) => ({ platform: read(offer) })),
    read(host),
  );
  return chosen && formatPlatform(chosen.platform);
}

function read(text: string): Platform {
  const [os = "", architecture = "", variant] = text.split("/");
  return { os, architecture, variant };
}

test.each([
  ["the same platform is chosen", "linux/amd64", ["linux/arm64", "linux/amd64"], "linux/amd64"],
  ["another operating system is not", "linux/amd64", ["windows/amd64"], undefined],
  ["the first of equals is chosen", "linux/arm64", ["linux/arm64", "linux/arm64/v8"], "linux/arm64"],
  ["an older variant will do", "linux/arm/v7", ["linux/arm/v5", "linux/arm/v6"], "linux/arm/v6"],
  ["a newer variant will not", "linux/arm/v6", ["linux/arm/v7"], undefined],
  ["a level above the base is not assumed", "linux/amd64", ["linux/amd64/v3", "linux/amd64"], "linux/amd64"],
  [
    "the highest level that the host has is chosen",
    "linux/amd64/v3",
    ["linux/amd64", "linux/amd64/v3", "linux/amd64/v4"],
    "linux/amd64/v3",
  ],
  ["a variant that is no level suits nobody", "linux/amd64", ["linux/amd64/weird"], undefined],
  ["nothing is chosen from nothing", "linux/amd64", [], undefined],
])("%s", (_what, host, offers, expected) => {
  expect(choose(host, ...offers)).toBe(expected);
});

test("Node's names of architectures are turned into Go's", () => {
  expect(linuxPlatform("x64")).toEqual({ os: "linux", architecture: "amd64" });
  expect(linuxPlatform("arm64")).toEqual({ os: "linux", architecture: "arm64" });
  expect(linuxPlatform("riscv64")).toEqual({ os: "linux", architecture: "riscv64" });
});
