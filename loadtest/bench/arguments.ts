// The command line of the benchmark: closed sets, and every refusal names what there is.

import { parseArgs } from "node:util";

export const SUITES = [
  "start",
  "throughput",
  "density",
  "queue",
  "startup-real",
  "pull",
  "telemetry",
  "list",
  "watchers",
  "batch",
  "flood",
  "cancel",
] as const;
export type SuiteName = (typeof SUITES)[number];

export const CONTENDERS = [
  "mayfly-http",
  "mayfly-runtime",
  "mayfly-runtime-cold",
  "docker",
  "containerd",
  "podman",
  "crun",
  "runc",
  "bwrap",
  "floor",
  "floor-joined",
] as const;
export type ContenderName = (typeof CONTENDERS)[number];

export const DRIVERS = ["launcher", "oci"] as const;
export type DriverName = (typeof DRIVERS)[number];

export const HELP = `npm run bench [-- FLAGS] [SUITE...], or mayfly bench [FLAGS] [SUITE...]

Mayfly, other engines and the kernel's own floor, side by side in one run.

  SUITE...            of ${SUITES.slice(0, 7).join(", ")},
                      ${SUITES.slice(7).join(", ")}; all of them without one
  --suite LIST        the same, with commas
  --contenders LIST   of ${CONTENDERS.join(", ")};
                      all of them without it. One that cannot be had here says why in its row.
  --driver NAME       Mayfly's driver, ${DRIVERS.join(" or ")}; the first without it
  --quick             few samples: to see that it works, not to believe the figures
  --json FILE         writes everything there
  --plot              writes a plot of each suite to docs/performance/SUITE.svg
  --cache DIR         where the images of startup-real and pull are kept (/var/cache/mayfly-bench)
  --install-peers     first installs docker.io, containerd, podman, crun and bubblewrap, without starting a service
  --help              says this

As root, on a machine that does nothing else. A run of all suites takes about a quarter of an hour.
`;

export interface Options {
  readonly suites: readonly SuiteName[];
  readonly contenders: readonly ContenderName[];
  readonly driver: DriverName;
  readonly isQuick: boolean;
  readonly jsonFile: string | undefined;
  readonly isPlotted: boolean;
  readonly cacheDir: string;
  readonly installsPeers: boolean;
  readonly wantsHelp: boolean;
}

/** Throws an error whose message says what is wrong and what would be right. */
export function parseOptions(argv: readonly string[]): Options {
  const { values, positionals } = parseFlags(argv);
  const suites = [...(values.suite === undefined ? [] : [values.suite]), ...positionals];
  return {
    suites: listOf("--suite", suites.length === 0 ? undefined : suites.join(","), SUITES),
    contenders: listOf("--contenders", values.contenders, CONTENDERS),
    driver: oneOf("--driver", values.driver, DRIVERS),
    isQuick: values.quick,
    jsonFile: values.json,
    isPlotted: values.plot,
    cacheDir: values.cache,
    installsPeers: values["install-peers"],
    wantsHelp: values.help,
  };
}

function parseFlags(argv: readonly string[]) {
  return parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      suite: { type: "string" },
      contenders: { type: "string" },
      driver: { type: "string", default: DRIVERS[0] },
      quick: { type: "boolean", default: false },
      json: { type: "string" },
      plot: { type: "boolean", default: false },
      cache: { type: "string", default: "/var/cache/mayfly-bench" },
      "install-peers": { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
}

/** In the order of `known`, each once. */
function listOf<const T extends string>(flag: string, text: string | undefined, known: readonly T[]): readonly T[] {
  if (text === undefined) return known;
  const given = text.split(",").map((name) => oneOf(flag, name.trim(), known));
  return known.filter((name) => given.includes(name));
}

function oneOf<const T extends string>(flag: string, text: string, known: readonly T[]): T {
  const found = known.find((name) => name === text);
  if (found === undefined) throw new Error(`${flag} has no ${JSON.stringify(text)}; there are ${known.join(", ")}`);
  return found;
}
