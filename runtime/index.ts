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
import { CAPABILITIES } from "./bundle/config.ts";
import { resolveSeccomp } from "./bundle/seccomp.ts";
import { removeCgroup } from "./cgroup/cgroup.ts";
import { probeHost } from "./host/probe.ts";
import type { Image } from "./image/image.ts";
import { linuxPlatform } from "./image/platform.ts";
import { createImageStore } from "./image/store.ts";
import { parseCredentials } from "./registry/credentials.ts";
import { createOciDriver } from "./task/oci-driver.ts";
import type { Guard, Sandbox, SandboxSpec } from "./task/sandbox.ts";

export type { Image, ImageConfig } from "./image/image.ts";
export type {
  ProcessEnd,
  ProgramSignal,
  Sandbox,
  SandboxEnd,
  SandboxLimits,
  SandboxSpec,
  TerminalSize,
  Usage,
} from "./task/sandbox.ts";

export interface RuntimeOptions {
  /** Names this host's cgroup and containers; unique among the runtimes of one machine. */
  readonly hostId: string;
  /** Directory for images and sandboxes; made if missing, this runtime's alone. */
  readonly stateDir: string;
  /** Mount point that is used in each sandbox's own mount namespace; made if missing. Runtimes may share it. */
  readonly runDir: string;
  readonly ociRuntime: string;
  readonly seccompProfile: string;
  readonly uidBase: number;
  /** Text of a file like Docker's config.json. */
  readonly registryAuth?: string | undefined;
  readonly insecureRegistries?: readonly string[] | undefined;
  readonly log: Log;
}

export interface Runtime {
  /** Of the driver that makes the sandboxes. */
  readonly driver: string;
  /** See ImageStore.ensure. */
  ensureImage(reference: string, signal: AbortSignal): Promise<Image>;
  /** See SandboxDriver.open. */
  openSandbox(spec: SandboxSpec, signal: AbortSignal, guard?: Guard): Promise<Sandbox>;
  /** Removes what an earlier life of this runtime left: containers, cgroups, half-made layers. To be called before the first run. */
  removeLeftovers(): Promise<{ sandboxes: string[] }>;
  /** To be called when no sandbox is open any more; leaves only what is kept on purpose: the images. */
  close(): Promise<void>;
}

/** Where the Makefile puts the native programs. */
const BUILD = join(import.meta.dirname, "build");

/** Checks the host once. Throws `host_unavailable` with all that it lacks, `configuration_invalid` for unusable options. */
export async function createRuntime(options: RuntimeOptions): Promise<Runtime> {
  const program = (name: string) => join(BUILD, name);
  const native = { shim: program("mayfly-shim"), init: program("mayfly-init"), unpack: program("mayfly-unpack") };
  const executables = [...Object.values(native), options.ociRuntime];
  const layout = await probeHost({ executables, files: [options.seccompProfile] });
  const cgroupParent = `mayfly-${options.hostId}`;
  await mkdir(options.stateDir, { recursive: true, mode: 0o700 });
  // The container's root passes through it, as a user that owns nothing.
  await mkdir(options.runDir, { recursive: true, mode: 0o711 });

  const images = createImageStore({
    stateDir: options.stateDir,
    platform: linuxPlatform(process.arch),
    uidBase: options.uidBase,
    unpackProgram: native.unpack,
    registries: {
      insecure: options.insecureRegistries ?? [],
      ...(options.registryAuth === undefined ? {} : { credentials: parseCredentials(options.registryAuth) }),
    },
    log: options.log,
  });
  const driver = createOciDriver({
    ...native,
    runtime: options.ociRuntime,
    stateDir: join(options.stateDir, "sandboxes"),
    mountpoint: options.runDir,
    cgroupParent,
    layout,
    uidBase: options.uidBase,
    seccomp: resolveSeccomp(JSON.parse(await readFile(options.seccompProfile, "utf8")), process.arch, CAPABILITIES),
  });

  return {
    driver: driver.name,
    ensureImage: images.ensure,
    openSandbox: driver.open,
    async removeLeftovers() {
      const [sandboxes] = await Promise.all([driver.removeLeftovers(), images.removeLeftovers()]);
      return { sandboxes };
    },
    close: () => removeCgroup(layout, `/${cgroupParent}`),
  };
}
