import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { CAPABILITIES } from "../../../../runtime/bundle/config.ts";
import { type OciSeccomp, resolveSeccomp, type SeccompProfile } from "../../../../runtime/bundle/seccomp.ts";

const shipped = JSON.parse(readFileSync("/usr/share/containers/seccomp.json", "utf8")) as SeccompProfile;
const resolved = resolveSeccomp(shipped, "x64", CAPABILITIES);

const allowed = (filter: OciSeccomp) =>
  new Set(filter.syscalls.filter(({ action }) => action === "SCMP_ACT_ALLOW").flatMap(({ names }) => names));
const ruleOf = (filter: OciSeccomp, name: string) => filter.syscalls.filter(({ names }) => names.includes(name));

describe("the seccomp filter", () => {
  it("is refused when its profile would allow what it does not name", () => {
    expect(() => resolveSeccomp({ defaultAction: "SCMP_ACT_ALLOW", syscalls: [] }, "x64", [])).toThrow(
      "SCMP_ACT_ERRNO",
    );
  });

  it("is refused for a processor that it knows nothing of", () => {
    expect(() => resolveSeccomp(shipped, "mips", [])).toThrow("mips");
  });

  it.each([
    "mount",
    "umount2",
    "unshare",
    "setns",
    "pivot_root",
    "open_tree",
    "fsopen",
    "keyctl",
    "add_key",
    "bpf",
    "io_uring_setup",
    "userfaultfd",
    "perf_event_open",
    "reboot",
    "kexec_load",
    "init_module",
    "settimeofday",
    "open_by_handle_at",
  ])("does not allow %s, as Docker's own does not", (name) => expect(allowed(resolved).has(name)).toBe(false));

  it.each([
    "read",
    "execve",
    "clone",
    "setuid",
    "chown",
    "mknod",
    "chroot",
    "epoll_wait",
    "futex",
    "getrandom",
    "personality",
  ])("allows %s", (name) => expect(allowed(resolved).has(name)).toBe(true));

  it("allows clone only without a flag that makes a namespace, and has libc fall back from clone3", () => {
    expect(ruleOf(resolved, "clone")).toEqual([
      {
        names: ["clone"],
        action: "SCMP_ACT_ALLOW",
        args: [{ index: 0, value: 0x7e020000, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" }],
      },
    ]);
    expect(ruleOf(resolved, "clone3")).toEqual([{ names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: 38 }]);
  });

  it("allows no socket that reaches past the network namespace: AF_ALG and AF_VSOCK", () => {
    const families = ruleOf(resolved, "socket").map(({ args }) => {
      // The low half alone, as the kernel reads it: bits above would make another number of the same family.
      expect(args).toEqual([{ index: 0, op: "SCMP_CMP_MASKED_EQ", value: 0xffff_ffff, valueTwo: expect.any(Number) }]);
      return args?.[0]?.valueTwo;
    });
    expect(families).toEqual(expect.arrayContaining([1, 2, 10, 16, 17]));
    expect(families.filter((family) => family === 38 || family === 40)).toEqual([]);
  });

  it("keeps the conditions on a call's arguments", () => {
    expect(ruleOf(resolved, "personality").every(({ args }) => args?.length === 1)).toBe(true);
  });

  it("leaves out what a capability would have to be held for", () => {
    const profile: SeccompProfile = {
      defaultAction: "SCMP_ACT_ERRNO",
      syscalls: [
        { names: ["a"], action: "SCMP_ACT_ALLOW", includes: { caps: ["CAP_X"] } },
        { names: ["b"], action: "SCMP_ACT_ALLOW", excludes: { caps: ["CAP_X"] } },
        { names: ["c"], action: "SCMP_ACT_ALLOW", includes: { arches: ["arm64"] } },
      ],
    };
    expect([...allowed(resolveSeccomp(profile, "x64", []))]).toEqual(["b", "clone", "socket"]);
    expect([...allowed(resolveSeccomp(profile, "arm64", ["CAP_X"]))]).toEqual(["a", "c", "clone", "socket"]);
  });
});
