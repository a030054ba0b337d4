// policyText writes what policy.c understands: each value of the one is found in the other.

import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { ALLOWED_DEVICES, CAPABILITIES, MASKED_PATHS, READONLY_PATHS } from "../../../../runtime/bundle/config.ts";
import { RLIMITS } from "../../../../runtime/bundle/rlimits.ts";
import { type OciSeccomp, resolveSeccomp } from "../../../../runtime/bundle/seccomp.ts";
import { policyText } from "../../../../runtime/launcher/policy.ts";
import { buildNative, runNative } from "../../../helpers/native.ts";

const UID_BASE = 1_895_825_408;
const PROFILE = "/usr/share/containers/seccomp.json";

let program: string;
let seccomp: OciSeccomp;
beforeAll(async () => {
  program = await buildNative("policy", ["policy.c", "log.c"], ["-lseccomp"]);
  seccomp = resolveSeccomp(JSON.parse(await readFile(PROFILE, "utf8")), process.arch, CAPABILITIES);
});

async function understood(text: string) {
  const path = join(await mkdtemp(join(tmpdir(), "mayfly-policy-")), "policy");
  await writeFile(path, text);
  const { exitCode, stdout, stderr } = await runNative(program, path);
  expect(stderr).toBe("");
  return { exitCode, said: JSON.parse(stdout) };
}

const MINIMAL = `uid-base ${UID_BASE}\nseccomp default 1\n`;

describe("what policyText writes", () => {
  test("is understood whole: every value arrives", async () => {
    const { exitCode, said } = await understood(policyText({ uidBase: UID_BASE, seccomp }));
    expect(exitCode).toBe(0);
    expect(said).toMatchObject({
      uidBase: UID_BASE,
      capabilities: "a80425fb", // Docker's fourteen.
      masks: MASKED_PATHS,
      readonly: READONLY_PATHS.filter((path) => path !== "/sys/fs/cgroup"),
      devices: ALLOWED_DEVICES.map(([major, minor]) => [major, minor ?? -1]),
    });
    expect(said.limits.map(([, soft, hard]: number[]) => [soft, hard])).toEqual(
      RLIMITS.map(({ soft, hard }) => [soft, hard]),
    );
    expect(said.instructions).toBeGreaterThan(100);
  });

  test("is refused before it is written if the profile has an action that is not understood", () => {
    const bad = (action: string) => ({ ...seccomp, syscalls: [{ names: ["read"], action }] });
    for (const action of ["SCMP_ACT_LOG", "SCMP_ACT_KILL", "SCMP_ACT_TRACE", "SCMP_ACT_NOTIFY", ""])
      expect(() => policyText({ uidBase: UID_BASE, seccomp: bad(action) })).toThrow(/action/);
  });

  test("carries conditions with mask and value in the order of the runtime-spec", async () => {
    const args = [{ index: 1, value: 0xff, valueTwo: 3, op: "SCMP_CMP_MASKED_EQ" }];
    const syscalls = [{ names: ["ioctl"], action: "SCMP_ACT_ERRNO", errnoRet: 25, args }];
    const text = policyText({ uidBase: UID_BASE, seccomp: { ...seccomp, syscalls } });
    expect(text).toContain("seccomp rule 25 ioctl 1 MASKED_EQ 255 3\n");
    expect((await understood(text)).exitCode).toBe(0);
  });
});

describe("a policy that is not understood whole is not in force:", () => {
  test.each([
    ["an unknown word", "capabilites 1", 3, "an unknown word"],
    ["a word without a value", "capability", 3, "a word without a value"],
    ["a capability that there is not", "capability 64", 3, "a number that is none, or too large"],
    ["a capability by name", "capability CAP_KILL", 3, "a number that is none, or too large"],
    ["a path that is relative", "mask proc/kcore", 3, "not an absolute path"],
    ["a path that goes up", "mask /proc/../etc", 3, "not an absolute path"],
    ["a device without a minor", "device 1", 3, "a number that is none, or too large"],
    ["a limit whose soft value is above the hard one", "limit 7 2 1", 3, "a soft limit above the hard one"],
    ["a limit of what there is not", "limit 99 1 1", 3, "a number that is none, or too large"],
    ["a rule without calls", "seccomp rule allow", 3, "a rule without calls"],
    ["a rule of an unknown action", "seccomp rule log read", 3, "a number that is none, or too large"],
    ["an operator that there is not", "seccomp rule allow read 0 ABOUT 1 0", 3, "an unknown operator"],
    ["an architecture that there is not", "seccomp architecture abacus", 3, "an unknown architecture"],
    ["an unknown word of seccomp", "seccomp allow read", 3, "an unknown word"],
  ])("%s", async (_what, line, lineNumber, message) => {
    const { exitCode, said } = await understood(`${MINIMAL}${line}\n`);
    expect(exitCode).toBe(1);
    expect(said).toMatchObject({ event: "policy.refused", line: lineNumber, message });
  });

  test.each([
    ["no ids for its users", "seccomp default 1\n", /uid-base is missing/],
    ["the host's own users", "uid-base 1000\nseccomp default 1\n", /uid-base is missing/],
    ["no seccomp", `uid-base ${UID_BASE}\n`, /do not compile/],
    ["rules before their default", `uid-base ${UID_BASE}\nseccomp rule allow read\n`, /default comes first/],
    ["a NUL", `${MINIMAL}\0`, /too long, or no text/],
    ["more bytes than there may be", `${MINIMAL}${"#\n".repeat(200_000)}`, /too long, or no text/],
  ])("%s", async (_what, text, message) => {
    const { exitCode, said } = await understood(text);
    expect(exitCode).toBe(1);
    expect(said.message).toMatch(message);
  });
});
