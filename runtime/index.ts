// The runtime's whole public face: images made ready, sandboxes opened, leftovers removed. It knows neither HTTP nor Redis,
// and is usable as a library by itself:
//
//   const runtime = await createRuntime(options);
//   const image = await runtime.ensureImage("127.0.0.1:5000/busybox", signal);
//   const sandbox = await runtime.openSandbox({ image, argv: ["true"], … }, signal);
//   const { process, usage } = await sandbox.ended;
//   await sandbox.close();

import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Log } from "../core/log.ts";
import { createHostArchives } from "./archive/host-archives.ts";
import { CAPABILITIES } from "./bundle/config.ts";
import { rlimitsWithin } from "./bundle/rlimits.ts";
import { resolveSeccomp } from "./bundle/seccomp.ts";
import { probeHost } from "./host/probe.ts";
import type { Weakness } from "./host/weakness.ts";
import type { ImageAdmin } from "./image/admin.ts";
import type { EnsureOptions, HeldImage } from "./image/image.ts";
import type { Peers } from "./image/peers.ts";
import { hostPlatform } from "./image/platform.ts";
import type { ImageRules } from "./image/policy.ts";
import type { Pulled } from "./image/pull.ts";
import { createImageStore, type HostImageStore } from "./image/store.ts";
import {
  createLauncherDriver,
  type LauncherDriverOptions,
  launcherSocketOf,
  launcherStatus,
} from "./launcher/launcher-driver.ts";
import { type RegistrySettings, registryOptions } from "./registry/settings.ts";
import { createOciDriver } from "./task/oci-driver.ts";
import type { Blanks, Guard, Sandbox, SandboxDriver, SandboxSpec } from "./task/sandbox.ts";

export { WEAKNESS_NAMES, WEAKNESSES, type Weakness } from "./host/weakness.ts";
export type { ImageAdmin } from "./image/admin.ts";
export type { EnsureOptions, HeldImage, Image, ImageConfig, LayerProgress, PullPolicy } from "./image/image.ts";
export type { Peers } from "./image/peers.ts";
export { IMAGE_PATTERN_FORM, type ImageRules, isImagePattern } from "./image/policy.ts";
export type { Pulled } from "./image/pull.ts";
export { RateFloor } from "./registry/rate-floor.ts";
export type {
  Blanks,
  ProcessEnd,
  ProgramSignal,
  Sandbox,
  SandboxArtifacts,
  SandboxEnd,
  SandboxFile,
  SandboxLimits,
  SandboxSpec,
  StreamedFile,
  TerminalSize,
  Usage,
} from "./task/sandbox.ts";

export interface RuntimeOptions extends RegistrySettings {
  /** Names this host's cgroup and containers; unique among the runtimes of one machine. */
  readonly hostId: string;
  /** Directory for images and sandboxes; made if missing, this runtime's alone. */
  readonly stateDir: string;
  /** Mount point that is used in each sandbox's own mount namespace; made if missing. Runtimes may share it. */
  readonly runDir: string;
  /** Who makes the sandboxes: Mayfly's own launcher, or any OCI runtime's command line. */
  readonly driver: "launcher" | "oci";
  /** Of the `launcher` driver: how many blanks are kept ready, at least and at most. */
  readonly blanks?: { readonly min: number; readonly max: number } | undefined;
  /** Of the `launcher` driver: the socket of a launcher that runs already; without it, one is started. */
  readonly launcherSocket?: string | undefined;
  /** Where the native programs are; without it, where the Makefile puts them. */
  readonly programsDir?: string | undefined;
  /** Of the `oci` driver: path of the OCI runtime. */
  readonly ociRuntime: string;
  readonly seccompProfile: string;
  readonly uidBase: number;
  /** Which images may be run; without it, all. */
  readonly imageRules?: ImageRules | undefined;
  /** Bytes that images may take; without it, a share of the file system, see image/budget.ts. */
  readonly imagesDisk?: number | undefined;
  /** Other hosts that may have what an image needs. */
  readonly peers?: Peers | undefined;
  /** Told of each pull of layers that the host lacked. */
  readonly onPulled?: ((pulled: Pulled) => void) | undefined;
  /** In what this host may be weaker than the default; without it, in nothing. */
  readonly allowWeaker?: readonly Weakness[] | undefined;
  readonly log: Log;
}

export interface Runtime {
  /** Of the driver that makes the sandboxes. */
  readonly driver: string;
  /** See ImageStore.ensure. */
  ensureImage(reference: string, signal: AbortSignal, options?: EnsureOptions): Promise<HeldImage>;
  /** For operators: what images are here, and what is to be done with them. */
  readonly images: ImageAdmin;
  /** See SandboxDriver.open. */
  openSandbox(spec: SandboxSpec, signal: AbortSignal, guard?: Guard): Promise<Sandbox>;
  /** The blanks of a driver that keeps some. */
  blanks(): Promise<Blanks>;
  /** Removes what an earlier life of this runtime left: containers, cgroups, half-made layers. To be called before the first run. */
  removeLeftovers(): Promise<{ sandboxes: string[] }>;
  /** To be called when no sandbox is open any more; leaves only what is kept on purpose: the images. */
  close(): Promise<void>;
}

/** The blanks of the runtime that has this state directory, asked of its launcher; none if it has none. */
export async function blanksAt(stateDir: string): Promise<Blanks> {
  const status = await launcherStatus(launcherSocketOf(sandboxesDir(stateDir))).catch(() => undefined);
  return { ready: status?.blanks ?? 0, wanted: status?.target ?? 0, cgroups: status?.blankNames ?? [] };
}

const sandboxesDir = (stateDir: string) => join(stateDir, "sandboxes");

/** mount_setattr(2) is the youngest call that mayfly-launcher makes, close_range(2) the youngest of mayfly-unpack's. */
const OLDEST_KERNEL = { launcher: [5, 12], oci: [5, 9] } as const;

/** A pool for a host of moderate load: it grows with the arrivals of the last minute. */
export const DEFAULT_BLANKS = { min: 4, max: 64 } as const;

const native = ({ programsDir }: RuntimeOptions, name: string) =>
  join(programsDir ?? join(import.meta.dirname, "build"), name);

/** Checks the host once, and logs what it is like. Throws `host_unavailable` with all that it lacks, `configuration_invalid` for unusable options. */
export async function createRuntime(options: RuntimeOptions): Promise<Runtime> {
  const { stateDir, runDir, uidBase, log } = options;
  const registries = await registryOptions(options);
  const { layout, facts } = await probe(options);
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  // The container's root passes through it, as a user that owns nothing.
  await mkdir(runDir, { recursive: true, mode: 0o711 });

  const platform = await hostPlatform();
  const images = createImageStore({
    stateDir,
    platform,
    uidBase,
    unpackProgram: native(options, "mayfly-unpack"),
    registries: { ...registries, log },
    rules: options.imageRules ?? {},
    diskBudget: options.imagesDisk,
    peers: options.peers,
    onPulled: options.onPulled,
    log,
  });
  const archives = createHostArchives({ store: images, stateDir, platform });
  const profile = JSON.parse(await readFile(options.seccompProfile, "utf8"));
  const common = {
    stateDir: sandboxesDir(stateDir),
    cgroupParent: cgroupParent(options),
    layout,
    uidBase,
    seccomp: resolveSeccomp(profile, process.arch, CAPABILITIES),
  };
  const driver =
    options.driver === "oci"
      ? await ociDriver(options, { ...common, countsSwap: facts.swapAccounting })
      : await launcherDriver(options, common, images);

  return {
    driver: driver.name,
    ensureImage: images.ensure,
    images: { ...images.admin, load: archives.load, save: archives.save },
    openSandbox: driver.open,
    blanks: async () => driver.blanks?.() ?? { ready: 0, wanted: 0, cgroups: [] },
    async removeLeftovers() {
      const cleared = [images.removeLeftovers(), archives.removeLeftovers()];
      const [sandboxes] = await Promise.all([driver.removeLeftovers(), ...cleared]);
      return { sandboxes };
    },
    close: driver.close,
  };
}

const cgroupParent = ({ hostId }: RuntimeOptions) => `mayfly-${hostId}`;

const probe = (options: RuntimeOptions) =>
  probeHost({
    executables: executablesOf(options),
    files: [options.seccompProfile],
    oldestKernel: OLDEST_KERNEL[options.driver],
    cgroup: `${cgroupParent(options)}-probe`,
    allowWeaker: options.allowWeaker ?? [],
    log: options.log,
  });

type Common = Pick<LauncherDriverOptions, "stateDir" | "cgroupParent" | "layout" | "uidBase" | "seccomp">;

function executablesOf(options: RuntimeOptions): string[] {
  const ours = (...names: string[]) => names.map((name) => native(options, name));
  if (options.driver === "oci") return [...ours("mayfly-unpack", "mayfly-shim", "mayfly-init"), options.ociRuntime];
  if (options.launcherSocket !== undefined) return ours("mayfly-unpack");
  return ours("mayfly-unpack", "mayfly-launcher", "mayfly-blank");
}

async function ociDriver(options: RuntimeOptions, common: Common & { countsSwap: boolean }): Promise<SandboxDriver> {
  return createOciDriver({
    ...common,
    shim: native(options, "mayfly-shim"),
    init: native(options, "mayfly-init"),
    runtime: options.ociRuntime,
    rlimits: rlimitsWithin(await readFile("/proc/self/limits", "utf8")),
    mountpoint: options.runDir,
  });
}

function launcherDriver(options: RuntimeOptions, common: Common, images: HostImageStore): Promise<SandboxDriver> {
  return createLauncherDriver({
    ...common,
    launcher: native(options, "mayfly-launcher"),
    blank: native(options, "mayfly-blank"),
    socketPath: options.launcherSocket,
    layersDir: images.layersDir,
    runDir: options.runDir,
    blanks: options.blanks ?? DEFAULT_BLANKS,
    log: options.log,
  });
}
