// The launcher's policy file: what isolates every sandbox, in the lines that policy.h describes. It is made of the same values as
// the OCI bundle, so that the two drivers cannot come to differ.

import { constants } from "node:os";
import { ALLOWED_DEVICES, CAPABILITIES, MASKED_PATHS, READONLY_PATHS } from "../bundle/config.ts";
import { RLIMITS } from "../bundle/rlimits.ts";
import type { OciSeccomp, SeccompArg } from "../bundle/seccomp.ts";

/** By number, as linux/capability.h has them. */
const CAPABILITY_NUMBERS: Readonly<Record<(typeof CAPABILITIES)[number], number>> = {
  CAP_CHOWN: 0,
  CAP_DAC_OVERRIDE: 1,
  CAP_FOWNER: 3,
  CAP_FSETID: 4,
  CAP_KILL: 5,
  CAP_SETGID: 6,
  CAP_SETUID: 7,
  CAP_SETPCAP: 8,
  CAP_NET_BIND_SERVICE: 10,
  CAP_NET_RAW: 13,
  CAP_SYS_CHROOT: 18,
  CAP_MKNOD: 27,
  CAP_AUDIT_WRITE: 29,
  CAP_SETFCAP: 31,
};

/** asm-generic/resource.h. */
const RLIMIT_NUMBERS = { RLIMIT_CORE: 4, RLIMIT_NOFILE: 7 } as const;

const EPERM = constants.errno.EPERM;

/** The file's text. */
export function policyText(options: { uidBase: number; seccomp: OciSeccomp }): string {
  const lines = [
    `uid-base ${options.uidBase}`,
    ...CAPABILITIES.map((name) => `capability ${CAPABILITY_NUMBERS[name]}`),
    ...MASKED_PATHS.map((path) => `mask ${path}`),
    // The launcher mounts the cgroups itself, read-only from the first.
    ...READONLY_PATHS.filter((path) => path !== "/sys/fs/cgroup").map((path) => `readonly ${path}`),
    ...ALLOWED_DEVICES.map(([major, minor]) => `device ${major} ${minor ?? "*"}`),
    ...RLIMITS.map(({ type, soft, hard }) => `limit ${RLIMIT_NUMBERS[type]} ${soft} ${hard}`),
    ...seccompLines(options.seccomp),
  ];
  return `${lines.join("\n")}\n`;
}

function seccompLines(seccomp: OciSeccomp): string[] {
  return [
    `seccomp default ${seccomp.defaultErrnoRet ?? EPERM}`,
    ...seccomp.architectures.map((name) => `seccomp architecture ${name.replace("SCMP_ARCH_", "").toLowerCase()}`),
    ...seccomp.syscalls.map(({ names, action, args = [], errnoRet }) =>
      ["seccomp rule", actionWord(action, errnoRet), names.join(","), ...args.map(condition)].join(" "),
    ),
  ];
}

/** A profile's other actions (trace, log, kill) have no place in a container's filter; to take one for another would be a hole. */
function actionWord(action: string, errnoRet: number | undefined): string {
  if (action === "SCMP_ACT_ALLOW") return "allow";
  if (action === "SCMP_ACT_ERRNO") return String(errnoRet ?? EPERM);
  throw new Error(`the seccomp profile has the action ${action}, which the launcher does not know`);
}

function condition({ index, value, valueTwo, op }: SeccompArg): string {
  const name = op.replace("SCMP_CMP_", "");
  // libseccomp takes mask and value where the OCI runtime-spec has value and valueTwo, in that order.
  return `${index} ${name} ${value} ${valueTwo ?? 0}`;
}
