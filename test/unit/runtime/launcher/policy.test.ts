import { describe, expect, it } from "vitest";
import { CAPABILITIES, MASKED_PATHS } from "../../../../runtime/bundle/config.ts";
import type { OciSeccomp } from "../../../../runtime/bundle/seccomp.ts";
import { policyText } from "../../../../runtime/launcher/policy.ts";

const seccomp: OciSeccomp = {
  defaultAction: "SCMP_ACT_ERRNO",
  defaultErrnoRet: 38,
  architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"],
  syscalls: [
    { names: ["read", "write"], action: "SCMP_ACT_ALLOW" },
    { names: ["keyctl"], action: "SCMP_ACT_ERRNO", errnoRet: 1 },
    {
      names: ["clone"],
      action: "SCMP_ACT_ALLOW",
      args: [{ index: 0, value: 2114060288, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" }],
    },
  ],
};

describe("the launcher's policy", () => {
  const lines = policyText({ uidBase: 100_000, seccomp }).trim().split("\n");

  it("says what the OCI bundle says, in lines", () => {
    expect(lines).toContain("uid-base 100000");
    expect(lines.filter((line) => line.startsWith("capability "))).toHaveLength(CAPABILITIES.length);
    expect(lines.filter((line) => line.startsWith("mask "))).toEqual(MASKED_PATHS.map((path) => `mask ${path}`));
    expect(lines).toContain("readonly /proc/sys");
    expect(lines).toContain("device 136 *");
    expect(lines).toContain("limit 7 1024 4096");
  });

  it("has the rules of the seccomp filter, the default first", () => {
    expect(lines.filter((line) => line.startsWith("seccomp "))).toEqual([
      "seccomp default 38",
      "seccomp architecture x86_64",
      "seccomp architecture x32",
      "seccomp rule allow read,write",
      "seccomp rule 1 keyctl",
      "seccomp rule allow clone 0 MASKED_EQ 2114060288 0",
    ]);
  });

  it("takes no action for another: a filter that is half understood would be a hole", () => {
    const syscalls = [{ names: ["ptrace"], action: "SCMP_ACT_LOG" }];
    expect(() => policyText({ uidBase: 100_000, seccomp: { ...seccomp, syscalls } })).toThrow("SCMP_ACT_LOG");
  });
});
