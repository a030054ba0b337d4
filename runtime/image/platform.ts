// Which of an index's variants runs on this host.

/** In Go's words, as images write them: linux, amd64, arm64; variant v7, v8. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string | undefined;
}

/** The instruction set level that an architecture has when nothing is said. */
const DEFAULT_LEVEL: Readonly<Record<string, number>> = { amd64: 1, arm: 7, arm64: 8 };

const GO_ARCHITECTURE: Readonly<Record<string, string>> = {
  x64: "amd64",
  ia32: "386",
  ppc64: "ppc64le",
  loong64: "loong64",
};

/** The platform of a Linux host, from Node's name for its architecture. */
export function linuxPlatform(nodeArchitecture: string): Platform {
  return { os: "linux", architecture: GO_ARCHITECTURE[nodeArchitecture] ?? nodeArchitecture };
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

export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant ? [variant] : [])].join("/");
}

/** `v7` is 7. A variant that is no level suits no host: not a number compares as false. */
function levelOf({ architecture, variant }: Platform): number {
  return variant ? Number(variant.replace(/^v/, "")) : (DEFAULT_LEVEL[architecture] ?? 0);
}
