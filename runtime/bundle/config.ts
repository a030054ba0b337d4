// The OCI runtime-spec configuration of a sandbox: everything that isolates it, in one value.
//
// Isolation by default: every namespace, container root is nobody on the host, Docker's capability set, seccomp,
// no-new-privileges, masked and read-only paths, and limits by cgroup. Nothing here can be switched off by a request.

import { hasFiles } from "../task/files.ts";
import type { SandboxSpec } from "../task/sandbox.ts";
import type { Rlimit } from "./rlimits.ts";
import type { OciSeccomp } from "./seccomp.ts";

/** How many ids a container has, from 0: the whole 16-bit range that images use. */
export const ID_COUNT = 65_536;

/** Docker's default set (Docker Engine, oci/caps/defaults.go). They hold inside the user namespace only. */
export const CAPABILITIES = [
  "CAP_AUDIT_WRITE",
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FOWNER",
  "CAP_FSETID",
  "CAP_KILL",
  "CAP_MKNOD",
  "CAP_NET_BIND_SERVICE",
  "CAP_NET_RAW",
  "CAP_SETFCAP",
  "CAP_SETGID",
  "CAP_SETPCAP",
  "CAP_SETUID",
  "CAP_SYS_CHROOT",
] as const;

/** Paths that tell of the host, or reach into it. Docker Engine's list. */
export const MASKED_PATHS = [
  ...[
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
  ].map((name) => `/proc/${name}`),
  "/sys/devices/virtual/powercap",
  "/sys/firmware",
];

export const READONLY_PATHS = [
  ...["bus", "fs", "irq", "sys", "sysrq-trigger"].map((name) => `/proc/${name}`),
  // On cgroup v1 hosts runc leaves the tmpfs that holds the hierarchies writable.
  "/sys/fs/cgroup",
];

const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** The kernel's default CFS period, in which a CPU quota is counted. */
export const CPU_PERIOD_US = 100_000;

/** mayfly-init counts against the cgroup's pids, but the user's limit is for the program. */
const INIT_PIDS = 1;

/**
 * What an OCI runtime needs in the cgroup until the program is there: runc's own init is a Go program with threads, and dies of
 * fewer. A smaller limit than this is set once the program has started.
 */
const RUNTIME_PIDS = 16;

/** The limit that holds while the program runs. */
export const pidsLimit = ({ limits }: SandboxSpec): number => limits.pids + INIT_PIDS;

/** c 1:3 null, 1:5 zero, 1:7 full, 1:8 random, 1:9 urandom, 5:0 tty, 5:2 ptmx, 136:* pts. */
export const ALLOWED_DEVICES: readonly (readonly [major: number, minor: number | undefined])[] = [
  [1, 3],
  [1, 5],
  [1, 7],
  [1, 8],
  [1, 9],
  [5, 0],
  [5, 2],
  [136, undefined],
];

export interface BundleOptions {
  /** The directory in which the shim shows `root` and `init`. */
  readonly mountpoint: string;
  /** Absolute below each cgroup hierarchy: `/mayfly-<host>/<id>`. */
  readonly cgroupPath: string;
  /** Host id of container root; ID_COUNT ids from there belong to containers. */
  readonly uidBase: number;
  readonly seccomp: OciSeccomp;
  /** Whether the kernel counts swap for each cgroup: an OCI runtime cannot set a limit that has no file. */
  readonly countsSwap: boolean;
  readonly rlimits: readonly Rlimit[];
}

/** The content of the bundle's `config.json`. */
export function bundleConfig(spec: SandboxSpec, options: BundleOptions): object {
  const idMappings = [{ containerID: 0, hostID: options.uidBase, size: ID_COUNT }];
  return {
    ociVersion: "1.0.2",
    hostname: spec.hostname,
    root: { path: `${options.mountpoint}/root`, readonly: false },
    process: processOf(spec, options),
    mounts: mountsOf(options.mountpoint),
    linux: {
      namespaces: ["pid", "mount", "ipc", "uts", "network", "cgroup", "user"].map((type) => ({ type })),
      uidMappings: idMappings,
      gidMappings: idMappings,
      cgroupsPath: options.cgroupPath,
      resources: resourcesOf(spec, options),
      seccomp: options.seccomp,
      maskedPaths: MASKED_PATHS,
      readonlyPaths: READONLY_PATHS,
    },
  };
}

function processOf(spec: SandboxSpec, { rlimits }: BundleOptions): object {
  return {
    terminal: false,
    // Whoever the program shall be, the init looks up in the image and becomes; until then it is the container's root.
    user: { uid: 0, gid: 0 },
    args: [
      "/dev/mayfly-init",
      spec.user,
      spec.workdir,
      hasHome(spec) ? "kept" : "user",
      spec.terminal ? `${spec.terminal.rows}x${spec.terminal.columns}` : "none",
      hasFiles(spec) ? "files" : "none",
      ...artifactArguments(spec),
      ...spec.argv,
    ],
    env: environment(spec),
    cwd: "/",
    noNewPrivileges: true,
    capabilities: {
      bounding: CAPABILITIES,
      permitted: CAPABILITIES,
      effective: CAPABILITIES,
      inheritable: [],
      ambient: [],
    },
    rlimits,
  };
}

/** As mayfly-init takes them: COUNT:FILES:BYTES and the patterns, or "none". */
function artifactArguments({ artifacts }: SandboxSpec): string[] {
  if (!artifacts) return ["none"];
  const { patterns, maxFiles, maxBytes } = artifacts;
  return [`${patterns.length}:${maxFiles}:${maxBytes}`, ...patterns];
}

export function hasHome(spec: SandboxSpec): boolean {
  return spec.env.some((entry) => entry.startsWith("HOME="));
}

/** PATH and HOSTNAME unless the image or the request says otherwise. HOME is the init's to add: it knows the user. */
export function environment(spec: SandboxSpec): string[] {
  const names = new Set(spec.env.map((entry) => entry.slice(0, entry.indexOf("="))));
  const defaults = [`PATH=${DEFAULT_PATH}`, `HOSTNAME=${spec.hostname}`];
  return [...defaults.filter((entry) => !names.has(entry.slice(0, entry.indexOf("=")))), ...spec.env];
}

function mountsOf(mountpoint: string): object[] {
  const tmpfs = ["nosuid", "noexec", "nodev"];
  return [
    { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
    {
      destination: "/dev",
      type: "tmpfs",
      source: "tmpfs",
      options: ["nosuid", "noexec", "strictatime", "mode=755", "size=64k"],
    },
    {
      destination: "/dev/mayfly-init",
      type: "bind",
      source: `${mountpoint}/init`,
      options: ["bind", "ro", "nosuid", "nodev"],
    },
    {
      destination: "/dev/pts",
      type: "devpts",
      source: "devpts",
      options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    { destination: "/dev/shm", type: "tmpfs", source: "shm", options: [...tmpfs, "mode=1777", "size=64m"] },
    { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: tmpfs },
    { destination: "/sys", type: "sysfs", source: "sysfs", options: [...tmpfs, "ro"] },
    { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: [...tmpfs, "ro"] },
  ];
}

function resourcesOf(spec: SandboxSpec, { countsSwap }: BundleOptions): object {
  const { limits } = spec;
  return {
    // Memory and swap together may be no more than memory alone: nothing is swapped out.
    memory: { limit: limits.memoryBytes, ...(countsSwap ? { swap: limits.memoryBytes } : {}) },
    cpu: { quota: Math.round(limits.cpus * CPU_PERIOD_US), period: CPU_PERIOD_US },
    pids: { limit: Math.max(pidsLimit(spec), RUNTIME_PIDS) },
    devices: [
      { allow: false, access: "rwm" },
      ...ALLOWED_DEVICES.map(([major, minor]) => ({
        allow: true,
        type: "c",
        major,
        ...(minor === undefined ? {} : { minor }),
        access: "rw",
      })),
    ],
  };
}
