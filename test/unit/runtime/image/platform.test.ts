import { expect, test } from "vitest";
import {
  choosePlatform,
  formatPlatform,
  hostPlatform,
  linuxPlatform,
  type Platform,
  withVariant,
} from "../../../../runtime/image/platform.ts";

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
  [
    "an arm host takes the highest that it can run",
    "linux/arm/v7",
    ["linux/arm/v5", "linux/arm/v7", "linux/arm/v8", "linux/arm/v6"],
    "linux/arm/v7",
  ],
  ["an arm image that names no variant is one of v7", "linux/arm/v6", ["linux/arm", "linux/arm/v5"], "linux/arm/v5"],
  [
    "arm64 is v8 without saying so",
    "linux/arm64",
    ["linux/arm64/v9", "linux/arm64/v8", "linux/arm/v7"],
    "linux/arm64/v8",
  ],
  ["amd64 is v1 without saying so", "linux/amd64", ["linux/amd64/v2", "linux/amd64/v1"], "linux/amd64/v1"],
  ["a host of v4 takes all below it too", "linux/amd64/v4", ["linux/amd64", "linux/amd64/v2"], "linux/amd64/v2"],
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

const V2 = "fpu cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3";
const V3 = `${V2} avx avx2 bmi1 bmi2 f16c fma abm movbe xsave`;
const V4 = `${V3} avx512f avx512bw avx512cd avx512dq avx512vl`;
const processors = (...flags: string[]) =>
  flags.map((line, index) => `processor\t: ${index}\nflags\t\t: ${line}\nbugs\t\t:\n`).join("\n");

test.each([
  ["v4", processors(V4, V4)],
  ["v3", processors(V3)],
  ["v3, though it has some of v4", processors(`${V3} avx512f`)],
  ["v2, though it has some of v3", processors(V3.replace("fma ", ""))],
  ["v2, as its lesser processor", processors(V3, V2)],
  ["v1, though it has v3 without v2", processors(V4.replace("ssse3 ", ""))],
  ["v1, as the kernel says nothing", ""],
])("an amd64 host is of level %s", (says, cpuInfo) => {
  const level = says.slice(0, 2);
  expect(withVariant(read("linux/amd64"), cpuInfo).variant ?? "v1").toBe(level);
});

test.each([
  ["5TEJ", "v5"],
  ["AArch64", undefined],
  ["5", "v5"],
  ["7", "v7"],
  ["8", "v8"],
  ["9", "v8"],
])("an arm processor of architecture %s is of variant %s", (says, variant) => {
  expect(withVariant(read("linux/arm"), `processor\t: 0\nCPU architecture: ${says}\n`).variant).toBe(variant);
});

test("this host's platform runs images that say nothing of a variant", async () => {
  const host = await hostPlatform();
  expect(choosePlatform([{ platform: linuxPlatform(process.arch) }], host)).toBeDefined();
});
