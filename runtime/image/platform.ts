// Which of an index's variants runs on this host.

import { readFile } from "node:fs/promises";
import { shown } from "./foreign-text.ts";

/** In Go's words, as images write them: linux, amd64, arm64; variant v7, v8. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string | undefined;
}

/** The instruction set level that an architecture has when nothing is said. */
const DEFAULT_LEVEL: Readonly<Record<string, number>> = { amd64: 1, arm: 7, arm64: 8 };

/** The longest of Go's architectures has eight characters. */
const MAX_PART_CHARACTERS = 32;

/** As many as any real image has. */
const MAX_NAMED = 20;

const GO_ARCHITECTURE: Readonly<Record<string, string>> = {
  x64: "amd64",
  ia32: "386",
  ppc64: "ppc64le",
  loong64: "loong64",
};

/**
 * What each level adds to the one below it (System V ABI for x86-64, "micro-architecture levels"), in the words of
 * /proc/cpuinfo: `pni` is SSE3, `abm` is LZCNT.
 */
const AMD64_LEVELS: readonly (readonly [variant: string, flags: readonly string[]])[] = [
  ["v2", ["cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"]],
  ["v3", ["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"]],
  ["v4", ["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"]],
];

/** The platform of a Linux host, from Node's name for its architecture; of its variants, the one that every such host has. */
export function linuxPlatform(nodeArchitecture: string): Platform {
  return { os: "linux", architecture: GO_ARCHITECTURE[nodeArchitecture] ?? nodeArchitecture };
}

/** The platform of this host, with what its processors can do. A kernel that does not tell counts as the least. */
export async function hostPlatform(): Promise<Platform> {
  return withVariant(linuxPlatform(process.arch), await readFile("/proc/cpuinfo", "utf8").catch(() => ""));
}

/** `cpuInfo` is the text of /proc/cpuinfo: `flags : fpu vme sse4_2 …` on amd64, `CPU architecture: 7` on arm, a line each processor. */
export function withVariant(platform: Platform, cpuInfo: string): Platform {
  if (platform.architecture === "amd64") return { ...platform, variant: amd64Variant(cpuInfo) };
  if (platform.architecture === "arm") return { ...platform, variant: armVariant(cpuInfo) };
  return platform;
}

/** Of processors that differ, the least: a program may run on any of them. */
function amd64Variant(cpuInfo: string): string | undefined {
  const processors = valuesOf(cpuInfo, "flags").map((flags) => new Set(flags.split(" ")));
  if (processors.length === 0) return undefined;
  const isMissing = ([, flags]: (typeof AMD64_LEVELS)[number]) =>
    !flags.every((flag) => processors.every((processor) => processor.has(flag)));
  const missing = AMD64_LEVELS.findIndex(isMissing);
  return (missing < 0 ? AMD64_LEVELS : AMD64_LEVELS.slice(0, missing)).at(-1)?.[0];
}

/** There are no variants below v5 and above v8. */
function armVariant(cpuInfo: string): string | undefined {
  const levels = valuesOf(cpuInfo, "CPU architecture").map((text) => Number.parseInt(text, 10)); // `5TEJ` is of v5.
  const level = Math.min(...levels, 8);
  return levels.length > 0 && level >= 5 ? `v${level}` : undefined;
}

function valuesOf(cpuInfo: string, name: string): string[] {
  return cpuInfo.split("\n").flatMap((line) => {
    const [key = "", value = ""] = line.split(":");
    return key.trim() === name ? [value.trim()] : [];
  });
}

/** The offer that suits best: the highest variant that the host can run; the first of equals. */
export function choosePlatform<T extends { readonly platform: Platform }>(
  offers: readonly T[],
  host: Platform,
): T | undefined {
  const suitable = offers.filter((offer) => runsOn(offer.platform, host));
  return suitable.reduce<T | undefined>((best, offer) => {
    return best && levelOf(best.platform) >= levelOf(offer.platform) ? best : offer;
  }, undefined);
}

export function runsOn(image: Platform, host: Platform): boolean {
  return image.os === host.os && image.architecture === host.architecture && levelOf(image) <= levelOf(host);
}

/** What an image says of itself is foreign text. */
export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant ? [variant] : [])].map((part) => shown(part, MAX_PART_CHARACTERS)).join("/");
}

/** For a message: the first of them, and how many more there are. */
export function formatPlatforms(platforms: readonly Platform[]): string {
  const more = platforms.length - MAX_NAMED;
  const named = platforms.slice(0, MAX_NAMED).map(formatPlatform);
  return [...named, ...(more > 0 ? [`${more} more`] : [])].join(", ") || "nothing";
}

/** `v7` is 7. A variant that is no level suits no host: not a number compares as false. */
function levelOf({ architecture, variant }: Platform): number {
  return variant ? Number(variant.replace(/^v/, "")) : (DEFAULT_LEVEL[architecture] ?? 0);
}
