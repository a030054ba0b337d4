// The `launcher` driver: sandboxes made by mayfly-launcher, the resident native process that keeps blanks ahead of need.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { MayflyError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import { CPU_PERIOD_US, environment, hasHome } from "../bundle/config.ts";
import type { OciSeccomp } from "../bundle/seccomp.ts";
import { removeCgroup } from "../cgroup/cgroup.ts";
import type { CgroupLayout } from "../cgroup/layout.ts";
import { overlaySnapshot } from "../snapshot/overlay.ts";
import { hasFiles, sendFiles } from "../task/files.ts";
import type { Guard, Sandbox, SandboxDriver, SandboxSpec } from "../task/sandbox.ts";
import { untilOpened } from "../task/until-opened.ts";
import { ask, FrameConnections } from "./frames.ts";
import { LauncherProcess } from "./launcher-process.ts";
import { LauncherSandbox } from "./launcher-sandbox.ts";
import { policyText } from "./policy.ts";
import {
  decodeStatus,
  decodeStrings,
  encodeFrame,
  encodeRun,
  FRAME,
  FRAME_HEADER_BYTES,
  type LauncherStatus,
  MAX_FRAME_BYTES,
  PROTOCOL_VERSION,
} from "./protocol.ts";

/** How long a run waits for a launcher that is being started again. */
const LAUNCHER_WAIT_MS = 5_000;

export interface LauncherDriverOptions {
  /** Paths of mayfly-launcher and mayfly-blank. */
  readonly launcher: string;
  readonly blank: string;
  /** The socket of a launcher that somebody else has started; without it, this driver starts one. */
  readonly socketPath?: string | undefined;
  /** Directory for the policy and the socket; this driver's alone. */
  readonly stateDir: string;
  /** Of the images' layers; nothing else is ever mounted. */
  readonly layersDir: string;
  /** An empty directory: the launcher's root, in a mount namespace of its own. */
  readonly runDir: string;
  readonly cgroupParent: string;
  readonly layout: CgroupLayout;
  readonly uidBase: number;
  readonly seccomp: OciSeccomp;
  /** How many blanks are kept ready, at least and at most. */
  readonly blanks: { readonly min: number; readonly max: number };
  readonly log: Log;
}

/** Where the launcher of this directory listens. */
export const launcherSocketOf = (stateDir: string): string => join(stateDir, "launcher.sock");

/** Rejects if no launcher listens there. */
export async function launcherStatus(socketPath: string): Promise<LauncherStatus> {
  return decodeStatus(await ask(socketPath, encodeFrame(FRAME.STATUS), FRAME.STATUS_IS));
}

export async function createLauncherDriver(options: LauncherDriverOptions): Promise<SandboxDriver> {
  const socketPath = options.socketPath ?? launcherSocketOf(options.stateDir);
  const policy = join(options.stateDir, "launcher.policy");
  await mkdir(options.stateDir, { recursive: true, mode: 0o700 });
  await mkdir(options.layersDir, { recursive: true, mode: 0o700 });
  await writeFile(policy, policyText(options), { mode: 0o600 });
  const argv = options.socketPath === undefined ? launcherArguments(options, socketPath, policy) : undefined;
  const launcher = new LauncherProcess({ socketPath, argv, log: options.log });
  await launcher.start();
  refuseOtherVersion(await launcherStatus(socketPath));
  const connections = new FrameConnections(socketPath);

  async function open(spec: SandboxSpec, signal: AbortSignal, guard?: Guard): Promise<Sandbox> {
    signal.throwIfAborted();
    const run = runFrame(spec);
    await available(launcher);
    signal.throwIfAborted();
    const sandbox = new LauncherSandbox(connections, run, { hasArtifacts: spec.artifacts !== undefined });
    return untilOpened(sandbox, { signal, guard, sent: sendFiles(sandbox, spec) });
  }

  return {
    name: "launcher",
    open,
    async blanks() {
      const { blanks, target, blankNames } = await launcherStatus(socketPath);
      return { ready: blanks, wanted: target, cgroups: blankNames };
    },
    async removeLeftovers() {
      return decodeStrings(await ask(socketPath, encodeFrame(FRAME.RESET), FRAME.RESET_DONE));
    },
    async close() {
      connections.close();
      if (await launcher.stop()) await removeCgroup(options.layout, `/${options.cgroupParent}`);
    },
  };
}

function launcherArguments(options: LauncherDriverOptions, socketPath: string, policy: string): [string, ...string[]] {
  const { launcher, blank, layersDir, runDir, cgroupParent, blanks } = options;
  const flags = { socket: socketPath, layers: layersDir, "run-dir": runDir, cgroup: cgroupParent, policy, blank };
  const named = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]);
  return [launcher, ...named, "--blanks", `${blanks.min}:${blanks.max}`, "--lifeline"];
}

function runFrame(spec: SandboxSpec): Buffer {
  const { lower } = overlaySnapshot(spec.image, { sizeBytes: spec.limits.diskBytes });
  const frame = encodeRun({
    ...spec,
    layers: lower,
    env: environment(spec),
    keepHome: hasHome(spec),
    hasFiles: hasFiles(spec),
    artifacts: spec.artifacts,
    cpuQuotaUs: Math.round(spec.limits.cpus * CPU_PERIOD_US),
    terminal: spec.terminal,
  });
  if (frame.length <= FRAME_HEADER_BYTES + MAX_FRAME_BYTES) return frame;
  throw new MayflyError("invalid_field", `command: with env and layers it has ${frame.length} bytes, more than 1 MiB`, {
    details: { field: "command" },
  });
}

/** A lost launcher is back within a moment; a host that cannot start it again is not available. */
async function available(launcher: LauncherProcess): Promise<void> {
  if (launcher.isUp) return;
  const patience = new AbortController();
  const overdue = delay(LAUNCHER_WAIT_MS, undefined, { signal: patience.signal, ref: false }).then(() => {
    throw new MayflyError("host_unavailable", "the launcher is not there");
  });
  overdue.catch(() => {});
  await Promise.race([launcher.ready, overdue]).finally(() => patience.abort());
}

function refuseOtherVersion({ protocolVersion }: LauncherStatus): void {
  if (protocolVersion === PROTOCOL_VERSION) return;
  throw new MayflyError("host_unavailable", `the launcher speaks version ${protocolVersion}, not ${PROTOCOL_VERSION}`);
}
