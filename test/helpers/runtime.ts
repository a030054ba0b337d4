// A runtime of a test's own, with an image from a real registry: no gateway, no queue.

import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Log, SILENT } from "../../core/log.ts";
import {
  createRuntime,
  type Image,
  type Runtime,
  type Sandbox,
  type SandboxEnd,
  type SandboxSpec,
} from "../../runtime/index.ts";
import { busyboxImage, pushImage } from "./image-builder.ts";
import type { HostUnderTest } from "./leak-check.ts";
import { type Registry, startRegistry } from "./registry.ts";

const MIB = 2 ** 20;

export const DEFAULT_UID_BASE = 1_895_825_408;

export interface RuntimeUnderTest {
  readonly runtime: Runtime;
  readonly registry: Registry;
  /** Of Debian's busybox, with an `app` user. */
  readonly image: Image;
  readonly host: HostUnderTest;
  /** Opens a sandbox with what matters to the test; the rest is modest. */
  open(changes?: Partial<SandboxSpec>, signal?: AbortSignal): Promise<Sandbox>;
  /** Opens, feeds, reads to the end, closes. */
  run(changes?: Partial<SandboxSpec> & { stdin?: string | Buffer }): Promise<Result>;
  /** A shell script in the sandbox. */
  sh(script: string, changes?: Partial<SandboxSpec> & { stdin?: string | Buffer }): Promise<Result>;
  /** Another runtime on the same directories, as after a restart of the worker. */
  restart(): Promise<Runtime>;
  stop(): Promise<void>;
}

export interface Result {
  readonly end: SandboxEnd;
  readonly stdout: string;
  readonly stderr: string;
}

export interface UnderTestOptions {
  readonly driver?: "launcher" | "oci";
  readonly ociRuntime?: string;
  readonly blanks?: { readonly min: number; readonly max: number };
  readonly log?: Log;
  /** Where its native programs are, if not where the Makefile puts them. */
  readonly programsDir?: string;
  /** A directory that is there already, such as a file system of the test's own; it is emptied in the end. */
  readonly stateDir?: string;
}

export async function makeRuntime(options: UnderTestOptions = {}): Promise<RuntimeUnderTest> {
  const stateDir = options.stateDir ?? (await mkdtemp(join(tmpdir(), "mayfly-runtime-")));
  const hostId = `test-${randomBytes(4).toString("hex")}`;
  const registry = await startRegistry();
  const create = () =>
    createRuntime({
      hostId,
      stateDir,
      runDir: "/run/mayfly",
      driver: options.driver ?? "launcher",
      blanks: options.blanks,
      programsDir: options.programsDir,
      ociRuntime: options.ociRuntime ?? "/usr/sbin/runc",
      seccompProfile: "/usr/share/containers/seccomp.json",
      uidBase: DEFAULT_UID_BASE,
      log: options.log ?? SILENT,
    });
  const runtime = await create();
  const { reference } = await pushImage(registry, "busybox:test", await busyboxImage());
  const image = await runtime.ensureImage(reference, AbortSignal.timeout(60_000));

  const open = (changes: Partial<SandboxSpec> = {}, signal: AbortSignal = AbortSignal.timeout(60_000)) =>
    runtime.openSandbox(
      {
        id: `run-${randomBytes(6).toString("hex")}`,
        image,
        argv: ["true"],
        env: [...image.config.env],
        workdir: "/",
        user: "",
        hostname: "mayfly-test",
        limits: { cpus: 1, memoryBytes: 64 * MIB, pids: 64, diskBytes: 16 * MIB },
        deadlineMs: 300_000,
        ...changes,
      },
      signal,
    );

  const run: RuntimeUnderTest["run"] = async ({ stdin = "", ...changes } = {}) => {
    const sandbox = await open(changes);
    try {
      sandbox.stdin.end(stdin);
      const [end, stdout, stderr] = await Promise.all([sandbox.ended, text(sandbox.stdout), text(sandbox.stderr)]);
      return { end, stdout, stderr };
    } finally {
      await sandbox.close();
    }
  };

  return {
    runtime,
    registry,
    image,
    host: { hostId, stateDir },
    open,
    run,
    sh: (script, changes) => run({ argv: ["sh", "-c", script], ...changes }),
    restart: create,
    async stop() {
      await runtime.close();
      await registry.stop();
      await rm(stateDir, { recursive: true, force: true });
    },
  };
}

export async function text(stream: NodeJS.ReadableStream): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}
