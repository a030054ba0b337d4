// Turns a seccomp profile in Docker's form (rules that depend on architecture and capabilities) into the OCI runtime-spec's.
//
// Debian ships the profile that Podman and Buildah use. It trusts capabilities to stop what Docker's own profile stops by
// itself, so what Docker lets only CAP_SYS_ADMIN and the like do is taken out here.

export interface SeccompArg {
  readonly index: number;
  readonly value: number;
  readonly valueTwo?: number;
  readonly op: string;
}

interface Condition {
  readonly arches?: readonly string[];
  readonly caps?: readonly string[];
}

interface ProfileRule {
  readonly names: readonly string[];
  readonly action: string;
  readonly args?: readonly SeccompArg[] | null;
  readonly includes?: Condition;
  readonly excludes?: Condition;
  readonly errnoRet?: number;
}

export interface SeccompProfile {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  readonly archMap?: readonly { readonly architecture: string; readonly subArchitectures: readonly string[] | null }[];
  readonly syscalls: readonly ProfileRule[];
}

/** `linux.seccomp` of the OCI runtime-spec. */
export interface OciSeccomp {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  readonly architectures: readonly string[];
  readonly syscalls: readonly { names: string[]; action: string; args?: readonly SeccompArg[]; errnoRet?: number }[];
}

/** Docker's default profile allows these to CAP_SYS_ADMIN, CAP_SYS_BOOT, CAP_SYS_PTRACE or CAP_SYSLOG only, or to nobody. */
const NEVER_ALLOWED: ReadonlySet<string> = new Set([
  ...["mount", "umount", "umount2", "pivot_root", "unshare", "setns"],
  ...["fsopen", "fsconfig", "fsmount", "fspick", "move_mount", "open_tree", "mount_setattr"],
  ...["bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register"],
  ...["keyctl", "add_key", "request_key", "syslog", "reboot", "quotactl", "quotactl_fd", "pidfd_getfd"],
  ...["mbind", "set_mempolicy", "get_mempolicy"],
  // The old way to make a socket on 32-bit x86; its arguments lie in memory, where a filter cannot look.
  "socketcall",
]);

/** clone(2) may not make namespaces: none of CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET} in its flags. */
const CLONE_NAMESPACES = 0x7e02_0000;
const EPERM = 1;
const ENOSYS = 38;
/** Calls that have rules of our own in place of the profile's. */
const RULED_HERE: ReadonlySet<string> = new Set(["clone", "clone3", "socket"]);

/** Address families that reach past the network namespace: the kernel's crypto (AF_ALG), and the hypervisor (AF_VSOCK). */
const AF_ALG = 38;
const AF_VSOCK = 40;
/** Of linux/socket.h: one more than the highest family there is. */
const AF_MAX = 46;
/** The kernel looks at the low half of the register alone: a filter that compared all of it would let `40 | 1 << 32` through. */
const LOW_HALF = 0xffff_ffff;
const socketRules = Array.from({ length: AF_MAX }, (_, family) => family)
  .filter((family) => family !== AF_ALG && family !== AF_VSOCK)
  .map(
    (family): ProfileRule => ({
      names: ["socket"],
      action: "SCMP_ACT_ALLOW",
      args: [{ index: 0, value: LOW_HALF, valueTwo: family, op: "SCMP_CMP_MASKED_EQ" }],
    }),
  );

/**
 * What is refused is refused as Docker does it, with EPERM: programs know what to make of that.
 * clone3's flags lie in memory, where a filter cannot look; libc falls back to clone on ENOSYS.
 */
const OWN_RULES: readonly ProfileRule[] = [
  { names: [...NEVER_ALLOWED], action: "SCMP_ACT_ERRNO", errnoRet: EPERM },
  {
    names: ["clone"],
    action: "SCMP_ACT_ALLOW",
    args: [{ index: 0, value: CLONE_NAMESPACES, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" }],
  },
  { names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: ENOSYS },
  ...socketRules,
];

const ARCHITECTURES: Readonly<Record<string, { seccomp: string; profile: string }>> = {
  x64: { seccomp: "SCMP_ARCH_X86_64", profile: "amd64" },
  arm64: { seccomp: "SCMP_ARCH_AARCH64", profile: "arm64" },
};

/**
 * The filter for one architecture (Node's name of it) and one capability set.
 * Throws on a profile whose default is not to refuse: such a profile would allow by omission.
 */
export function resolveSeccomp(profile: SeccompProfile, nodeArch: string, capabilities: readonly string[]): OciSeccomp {
  const arch = ARCHITECTURES[nodeArch];
  if (!arch) throw new Error(`no seccomp architecture is known for ${nodeArch}`);
  if (profile.defaultAction !== "SCMP_ACT_ERRNO")
    throw new Error("the seccomp profile's default action must be SCMP_ACT_ERRNO");
  const subArchitectures =
    profile.archMap?.find((entry) => entry.architecture === arch.seccomp)?.subArchitectures ?? [];
  const rules = profile.syscalls.filter((rule) => applies(rule, arch.profile, capabilities)).map(tighten);
  return {
    defaultAction: profile.defaultAction,
    ...(profile.defaultErrnoRet === undefined ? {} : { defaultErrnoRet: profile.defaultErrnoRet }),
    architectures: [arch.seccomp, ...subArchitectures],
    syscalls: [...rules.filter((rule) => rule.names.length > 0), ...OWN_RULES].map(toOci),
  };
}

function applies(rule: ProfileRule, arch: string, capabilities: readonly string[]): boolean {
  const { includes = {}, excludes = {} } = rule;
  if (includes.arches?.length && !includes.arches.includes(arch)) return false;
  if (includes.caps?.some((cap) => !capabilities.includes(cap))) return false;
  if (excludes.arches?.includes(arch)) return false;
  return !excludes.caps?.some((cap) => capabilities.includes(cap));
}

function tighten(rule: ProfileRule): ProfileRule {
  // Also a refusal of the profile's own for these would stand beside ours and contradict it.
  return {
    ...rule,
    names: rule.names.filter((name) => !NEVER_ALLOWED.has(name) && !RULED_HERE.has(name)),
  };
}

function toOci(rule: ProfileRule): OciSeccomp["syscalls"][number] {
  return {
    names: [...rule.names],
    action: rule.action,
    ...(rule.args?.length ? { args: rule.args } : {}),
    ...(rule.errnoRet === undefined ? {} : { errnoRet: rule.errnoRet }),
  };
}
