import { describe, expect, it } from "vitest";
import { CONTENDERS, HELP, parseOptions, SUITES } from "../../../../loadtest/bench/arguments.ts";

describe("the benchmark's command line", () => {
  it("without flags means everything, in full, on the terminal only", () => {
    expect(parseOptions([])).toMatchObject({
      suites: SUITES,
      contenders: CONTENDERS,
      driver: "launcher",
      isQuick: false,
      isPlotted: false,
      jsonFile: undefined,
      installsPeers: false,
    });
  });

  it("takes lists in any order and gives them in its own, each once", () => {
    const options = parseOptions(["--suite", "queue,start, queue", "--contenders=floor,docker", "--driver", "oci"]);
    expect(options).toMatchObject({ suites: ["start", "queue"], contenders: ["docker", "floor"], driver: "oci" });
  });

  it("takes suites as words, too", () => {
    expect(parseOptions(["queue", "--quick", "batch"])).toMatchObject({ suites: ["queue", "batch"], isQuick: true });
    expect(parseOptions(["--suite", "start", "queue"])).toMatchObject({ suites: ["start", "queue"] });
  });

  it.each([
    [["--suite", "startt"], /--suite has no "startt"; there are start, throughput, density, queue, startup-real/],
    [["--suite", ""], /--suite has no ""/],
    [["--contenders", "floor,dokcer"], /--contenders has no "dokcer"; there are mayfly-http, /],
    [["--driver", "both"], /--driver has no "both"; there are launcher, oci/],
    [["--jsn", "file"], /--jsn/],
    [["--json"], /--json/],
    [["--quick=yes"], /--quick/],
    [["startt"], /--suite has no "startt"; there are start, /],
  ])("refuses %j, and says what is wrong", (argv, message) => {
    expect(() => parseOptions(argv)).toThrow(message);
  });

  it("has a help that names every suite, contender and flag", () => {
    const flags = ["suite", "contenders", "driver", "quick", "json", "plot", "cache", "install-peers", "help"];
    for (const name of [...SUITES, ...CONTENDERS, ...flags.map((flag) => `--${flag}`)]) expect(HELP).toContain(name);
  });
});
