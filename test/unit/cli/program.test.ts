import { existsSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { GLOBAL_FLAGS } from "../../../cli/command.ts";
import type { FlagTable } from "../../../cli/flags.ts";
import { flagTitle } from "../../../cli/help.ts";
import type { Io } from "../../../cli/io.ts";
import { COMMANDS, program } from "../../../cli/program.ts";
import { CLI_SETTINGS } from "../../../cli/settings.ts";
import { SIGNALS } from "../../../core/control.ts";

const ROOT = join(import.meta.dirname, "../../..");

const NO_TERMINAL = {
  isInput: false,
  isOutput: false,
  size: () => ({ rows: 24, columns: 80 }),
  onResize: () => () => undefined,
  setRaw: () => undefined,
};

interface Ended {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

const call = (...args: string[]) => callWith({}, ...args);

async function callWith(own: Partial<Io>, ...args: string[]): Promise<Ended> {
  const text = { stdout: "", stderr: "" };
  const sink = (name: "stdout" | "stderr") => ({
    write: async (bytes: string | Uint8Array) => {
      text[name] += bytes;
    },
  });
  const io: Io = {
    env: {},
    stdin: () => Readable.from([]),
    stdout: sink("stdout"),
    stderr: sink("stderr"),
    terminal: NO_TERMINAL,
    fetch: () => expect.unreachable("nothing here asks the gateway"),
    readFile: () => expect.unreachable("nothing here reads files"),
    openFile: () => expect.unreachable("nothing here opens files"),
    createFile: () => expect.unreachable("nothing here makes files"),
    version: "1.2.3",
    onSignal: () => () => undefined,
    handOver: async (program, given) => {
      text.stdout += `${relative(ROOT, program)} ${JSON.stringify(given)}`;
      return 3;
    },
    exitNow: () => undefined,
    ...own,
  };
  return { exitCode: await program(args, io), ...text };
}

describe("help", () => {
  it("is the same however it is asked for, and asks the gateway nothing", async () => {
    for (const { name } of COMMANDS) {
      const help = await call("help", name);
      expect(help).toMatchObject({ exitCode: name === "bench" ? 3 : 0, stderr: "" }); // Which has its own.
      expect(await call(name, "--help")).toEqual(help);
      expect(await call("--help", name)).toEqual(help);
    }
    expect(await call("help")).toEqual(await call("-h"));
  });

  it("has every command, flag and example that there is", async () => {
    const { stdout } = await call("--help");
    for (const command of COMMANDS) {
      expect(stdout).toContain(`  ${command.name} `);
      const help = (await call("help", command.name)).stdout;
      for (const [name, flag] of Object.entries(command.flags)) expect(help).toContain(flagTitle(name, flag));
      expect(command.examples.length).toBeGreaterThan(0);
    }
  });

  it("fits a terminal of 100 columns", async () => {
    for (const { name } of COMMANDS) {
      for (const line of (await call("help", name)).stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(100);
    }
  });
});

describe("the program", () => {
  it("tells its version, also as JSON", async () => {
    expect(await call("--version")).toEqual({ exitCode: 0, stdout: "mayfly 1.2.3\n", stderr: "" });
    expect((await call("--version", "--json")).stdout).toBe('{"version":"1.2.3"}\n');
  });

  it.each([
    [["inpsect"], 2, 'there is no command "inpsect"; did you mean inspect?'],
    [["help", "rn"], 2, 'there is no command "rn"; did you mean run?'],
    [["--jsno"], 2, "there is no flag --jsno; did you mean --json?"],
    [["logs"], 2, "ID is missing; it takes ID"],
    [["ps", "--state", "flying"], 2, '--state "flying" is not one of queued, starting, running, finished'],
    [["ps", "-n", "0"], 2, '--number "0" is not a whole number from 1 to 10000'],
    [["keys"], 2, "ACTION is missing; it takes ACTION [NAME | ID...]"],
    [["keys", "rotat"], 2, 'there is no action "rotat"; did you mean rotate?'],
    [["keys", "create", "--scope", "read", "ci"], 2, "--tenant is needed: whose key it is to be"],
    [["keys", "create", "--tenant", "a", "ci"], 2, "--scope is needed: submit, read, cancel, admin"],
    [
      ["keys", "create", "--tenant", "a", "--scope", "root", "ci"],
      2,
      '--scope "root" is not one of submit, read, cancel, admin',
    ],
    [["keys", "rotate"], 2, "ID is missing; it takes rotate ID"],
    [["keys", "ls", "--overlap", "1h"], 2, "ls has no use for --overlap"],
    [["keys", "revoke", "ci"], 2, "ID is not a key's id, such as key_3v8k2m9q4t7x; it is never the key itself"],
    [
      ["tenants", "set", "acme"],
      2,
      "there is nothing to set: --memory, --weight, --running, --queued, --cpus, --rate, --burst",
    ],
    [["tenants", "set", "--running", "many", "acme"], 2, '--running "many" is neither a number nor none'],
    [["tenants", "set", "--memory", "64", "--rate", "1", "Acme"], 2, 'TENANT "Acme" is not a tenant\'s name'],
    [["tenants", "set", "--memory", "lots", "acme"], 2, '--memory "lots" is neither a size, such as 64GiB, nor none'],
    [["tenants", "inspect"], 2, "TENANT is missing; it takes inspect TENANT"],
    [["tenants", "ls", "acme"], 2, '"acme" is one argument too many'],
    [["tenants", "ls", "--rate", "1"], 2, "ls has no use for --rate"],
    [["run"], 125, "IMAGE is missing; it takes IMAGE [COMMAND...]"],
    [
      ["run", "-v", "/:/host", "busybox"],
      125,
      "-v is not a flag of Mayfly's: a run has no volumes; --upload DIR:/PATH sends a directory's files",
    ],
    [["run", "-it", "busybox"], 125, "the input device is not a TTY: -t with -i needs a terminal"],
    [["run", "-t", "busybox"], 125, "the output device is not a TTY: -t needs a terminal"],
    [["run", "-dt", "busybox"], 125, "-d and -t exclude each other: once detached, nobody is left at the terminal"],
    [["kill", "-s", "STOP", "run_1"], 2, `--signal "STOP" is not one of ${SIGNALS.join(", ")}`],
    [["kill", "-s", "", "run_1"], 2, `--signal "" is not one of ${SIGNALS.join(", ")}`],
    [["run", "--url", "nowhere", "busybox"], 125, '--url "nowhere" is not an http or https URL without a user name'],
  ])("refuses %j with exit code %d, for people and for programs", async (args, exitCode, message) => {
    const plain = await call(...args);
    expect(plain).toMatchObject({ exitCode, stdout: "" });
    expect(plain.stderr).toContain(`mayfly: ${message}\n`);
    const asJson = await call("--json", ...args);
    expect(asJson).toMatchObject({ exitCode, stdout: "" });
    expect(JSON.parse(asJson.stderr)).toEqual({ error: { code: "invalid_argument", reason: "usage", message } });
  });
});

describe("a key that is given where its id belongs", () => {
  const key = `mayfly_0123456789ab_${"s".repeat(39)}`;

  it.each([[["revoke", key]], [["rotate", key]], [["ls", key]], [["rotate", "key_0123456789ab", key]], [[key]]])(
    "is not sent and not shown: keys %j",
    async (args) => {
      for (const json of [[], ["--json"]]) {
        const { exitCode, stdout, stderr } = await call(...json, "keys", ...args);
        expect(exitCode).toBe(2);
        expect(stdout + stderr).not.toContain("ssss");
      }
    },
  );
});

describe("an archive at a terminal", () => {
  it("is neither written nor read", async () => {
    const terminal = { ...NO_TERMINAL, isInput: true, isOutput: true };
    const saved = await callWith({ terminal }, "save", "busybox");
    expect(saved).toMatchObject({ exitCode: 2, stdout: "", stderr: expect.stringContaining("-o FILE is needed") });
    const loaded = await callWith({ terminal }, "load");
    expect(loaded).toMatchObject({ exitCode: 2, stdout: "", stderr: expect.stringContaining("-i FILE is needed") });
  });
});

describe("mayfly bench", () => {
  const BENCHMARK = "loadtest/bench/main.ts";

  it("is the benchmark itself: everything after its name is handed on, and its exit code is the command's", async () => {
    for (const args of [[], ["--quick", "--json", "x.json"], ["--url", "-h", "--", "--nonsense"]]) {
      const stdout = `${BENCHMARK} ${JSON.stringify(args)}`;
      expect(await call("bench", ...args)).toEqual({ exitCode: 3, stdout, stderr: "" });
    }
    expect(existsSync(join(ROOT, BENCHMARK))).toBe(true);
  });

  it("says so where there is no benchmark", async () => {
    const absent = () => Promise.reject(Object.assign(new Error("no such file"), { code: "ENOENT" }));
    const { exitCode, stderr } = await callWith({ handOver: absent }, "bench", "--json", "x.json");
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/^mayfly: the benchmark is not installed here: .*\/loadtest\/bench\/main\.ts\n$/);
  });

  it.each([["--json"], ["--url=http://h"]])("has no use for the %s of other commands", async (flag) => {
    expect(await call(flag, "bench")).toMatchObject({
      exitCode: 2,
      stdout: "",
      stderr: expect.stringMatching("bench asks no gateway"),
    });
  });
});

describe("docs/cli.md", () => {
  const page = readFileSync(new URL("../../../docs/cli.md", import.meta.url), "utf8");
  const sections = new Map(
    page.split(/^## /m).map((section) => [section.split(/\s/)[0] === "mayfly" ? section.split(/\s/)[1] : "", section]),
  );

  it("has every command, each with every flag of its", () => {
    const documented = (flags: FlagTable, section: string) => {
      for (const [name, { short }] of Object.entries(flags)) {
        expect(section).toMatch(
          new RegExp(`^\\| ${short === undefined ? "" : `\`-${short}\`, `}\`--${name}[ \`]`, "m"),
        );
      }
    };
    for (const { name, flags } of COMMANDS) documented(flags, sections.get(name) ?? "");
    documented(GLOBAL_FLAGS, page);
  });

  it("has no flag that there is not", () => {
    const known = [GLOBAL_FLAGS, { version: {} }, ...COMMANDS.map(({ flags }) => flags)].flatMap((flags) =>
      Object.keys(flags),
    );
    for (const [, name] of page.matchAll(/^\| .*?`--([a-z-]+)/gm)) expect(known).toContain(name);
  });

  it("has every variable", () => {
    for (const { variable } of Object.values(CLI_SETTINGS)) expect(page).toContain(`\`${variable}\``);
  });
});
