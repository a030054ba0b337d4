// The `oci` driver: any OCI runtime's command line (runc, crun …), each container behind a shim of its own.
// The reference for behaviour, and the choice of those who want another runtime's wall.

import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isMayflyError, MayflyError } from "../../core/errors.ts";
import { bundleConfig, pidsLimit } from "../bundle/config.ts";
import type { Rlimit } from "../bundle/rlimits.ts";
import type { OciSeccomp } from "../bundle/seccomp.ts";
import { listCgroups, removeCgroup } from "../cgroup/cgroup.ts";
import type { CgroupLayout } from "../cgroup/layout.ts";
import { finished, startProcess } from "../host/command.ts";
import { overlaySnapshot } from "../snapshot/overlay.ts";
import { sendFiles } from "./files.ts";
import { OciSandbox } from "./oci-sandbox.ts";
import type { Guard, Sandbox, SandboxDriver, SandboxSpec } from "./sandbox.ts";
import { untilOpened } from "./until-opened.ts";

export interface OciDriverOptions {
  /** Path of the OCI runtime's binary. */
  readonly runtime: string;
  /** Path of mayfly-shim, and of mayfly-init. */
  readonly shim: string;
  readonly init: string;
  /** Directory for bundles and the runtime's own state; this driver's alone. */
  readonly stateDir: string;
  /** An empty directory that every user may enter: in each shim's own mount namespace, the container's files appear there. */
  readonly mountpoint: string;
  /** Name of the cgroup, below every hierarchy's root, that holds this host's containers. */
  readonly cgroupParent: string;
  readonly layout: CgroupLayout;
  readonly uidBase: number;
  readonly seccomp: OciSeccomp;
  /** See BundleOptions. */
  readonly countsSwap: boolean;
  /** Of the processes in a container. */
  readonly rlimits: readonly Rlimit[];
}

export function createOciDriver(options: OciDriverOptions): SandboxDriver {
  const bundles = join(options.stateDir, "bundles");
  const runtimeRoot = join(options.stateDir, "runtime");
  const cgroupOf = (id: string) => `/${options.cgroupParent}/${id}`;

  async function open(spec: SandboxSpec, signal: AbortSignal, guard?: Guard): Promise<Sandbox> {
    signal.throwIfAborted();
    const bundle = join(bundles, spec.id);
    const sandbox = await supervise(bundle, spec);
    return untilOpened(sandbox, { signal, guard, sent: sendFiles(sandbox, spec) });
  }

  async function supervise(bundle: string, spec: SandboxSpec): Promise<OciSandbox> {
    await makeBundle(bundle);
    try {
      await writeBundle(bundle, spec);
      const argv = shimArguments(bundle, spec);
      return new OciSandbox({
        argv,
        bundle,
        runtimeState: join(runtimeRoot, spec.id),
        cgroupPath: cgroupOf(spec.id),
        pidsLimit: pidsLimit(spec),
        layout: options.layout,
        hasArtifacts: spec.artifacts !== undefined,
      });
    } catch (error) {
      await rm(bundle, { recursive: true, force: true });
      throw toHostError(error);
    }
  }

  /** Two sandboxes of one id would remove each other; the second is refused before it touches anything. */
  async function makeBundle(bundle: string): Promise<void> {
    try {
      await mkdir(bundles, { recursive: true, mode: 0o700 });
      await mkdir(bundle, { mode: 0o700 });
    } catch (error) {
      throw toHostError(error);
    }
  }

  async function writeBundle(bundle: string, spec: SandboxSpec): Promise<void> {
    const config = bundleConfig(spec, { ...options, cgroupPath: cgroupOf(spec.id) });
    await writeFile(join(bundle, "config.json"), JSON.stringify(config), { mode: 0o600 });
  }

  function shimArguments(bundle: string, spec: SandboxSpec): [string, ...string[]] {
    const { shim, runtime, init, mountpoint, uidBase } = options;
    const snapshot = overlaySnapshot(spec.image, { sizeBytes: spec.limits.diskBytes });
    const sizes = [String(snapshot.sizeBytes), String(uidBase), String(spec.deadlineMs)];
    const artifacts = spec.artifacts ? "artifacts" : "none";
    return [shim, runtime, runtimeRoot, spec.id, bundle, init, mountpoint, ...sizes, artifacts, ...snapshot.lower];
  }

  async function removeLeftovers(): Promise<string[]> {
    const known = await Promise.all([
      readdir(bundles).catch(() => []),
      listCgroups(options.layout, options.cgroupParent),
    ]);
    const ids = [...new Set(known.flat())];
    await Promise.all(ids.map(removeLeftover));
    await rm(runtimeRoot, { recursive: true, force: true });
    return ids;
  }

  async function removeLeftover(id: string): Promise<void> {
    // The runtime's own record may be missing or half written; what counts is that the cgroup is empty and gone.
    await finished(
      startProcess([options.runtime, "--root", runtimeRoot, "delete", "--force", id], { stdio: "ignore" }),
    );
    await removeCgroup(options.layout, cgroupOf(id));
    await rm(join(bundles, id), { recursive: true, force: true });
  }

  const close = () => removeCgroup(options.layout, `/${options.cgroupParent}`);

  return { name: "oci", open, removeLeftovers, close };
}

/** A full disk, too many open files: the host's fault, not the run's. */
function toHostError(error: unknown): unknown {
  if (isMayflyError(error) || !(error instanceof Error)) return error;
  return new MayflyError("host_unavailable", `cannot make a sandbox: ${error.message}`, { cause: error });
}
