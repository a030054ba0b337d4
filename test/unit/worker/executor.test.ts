// One attempt with a runtime and a store of our own: each step is made to fail, and the order of things is looked at.

import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { MayflyError } from "../../../core/errors.ts";
import { SILENT } from "../../../core/log.ts";
import type { RunRecord } from "../../../core/record.ts";
import type { RunRequest } from "../../../core/request.ts";
import type { Runtime, Sandbox, SandboxEnd } from "../../../runtime/index.ts";
import { Executor } from "../../../worker/executor.ts";
import type { Ended, Messages, RunStore } from "../../../worker/run-store.ts";
import { NO_IMAGES } from "../../helpers/no-images.ts";

const IMAGE = {
  release() {},
  reference: "r",
  digest: "sha256:d",
  manifestDigest: "sha256:m",
  config: { env: [], entrypoint: [], command: ["true"], workdir: "/", user: "" },
  layers: ["/l"],
};
const EXITED: SandboxEnd = { process: { kind: "exited", exitCode: 0 }, usage: undefined };

/** What happened, in order, and the two things that decide it. */
class World {
  readonly happened: string[] = [];
  ended: Ended | undefined;
  givenUp: string | undefined;
  readonly end = Promise.withResolvers<SandboxEnd>();
  readonly stdout = new PassThrough();
  readonly stderr = new PassThrough();
  started: () => Promise<boolean> = async () => true;
  append: () => Promise<void> = async () => {};
  ensureImage: (signal: AbortSignal) => Promise<typeof IMAGE> = async () => IMAGE;
  open: () => Promise<void> = async () => {};
  close: () => Promise<void> = async () => {};
  pull: string | undefined;

  readonly executor = new Executor({
    runtime: this.runtime(),
    store: this.store(),
    messages: {} as Messages,
    hostId: "h",
    log: SILENT,
  });

  /** The program ends, and with it its streams. */
  exit(end: SandboxEnd = EXITED): void {
    this.stdout.end();
    this.stderr.end();
    this.end.resolve(end);
  }

  execute(timeouts: Record<string, string> = {}, rest: Partial<RunRequest> = {}): Promise<void> {
    const request = { image: "r", timeouts, ...rest };
    const record = { id: "run_1", tenant: "t", state: "starting", attempt: 1, request, queuedAt: 0, createdAt: 0 };
    return this.executor.execute(record as unknown as RunRecord, performance.now());
  }

  private runtime(): Runtime {
    const sandbox: Sandbox = {
      stdin: new PassThrough(),
      stdout: this.stdout,
      stderr: this.stderr,
      programStarted: true,
      startMs: 1,
      ended: this.end.promise,
      programEnded: this.end.promise.then(() => {}),
      extend: () => {},
      signal: (signal) => void this.happened.push(signal),
      resize: () => {},
      killProgram: () => sandbox.kill(),
      kill: () => {
        this.happened.push("killed");
        this.exit({ process: { kind: "signaled", signal: "SIGKILL" }, usage: undefined });
      },
      close: async () => {
        this.happened.push("closed");
        this.exit();
        await this.close();
      },
    };
    return {
      driver: "fake",
      images: NO_IMAGES,
      blanks: async () => ({ ready: 0, wanted: 0, cgroups: [] }),
      ensureImage: async (_reference, signal, { pull } = {}) => {
        this.pull = pull;
        const image = await this.ensureImage(signal);
        return { ...image, release: () => void this.happened.push("image released") };
      },
      openSandbox: async () => {
        await this.open();
        return sandbox;
      },
      removeLeftovers: async () => ({ sandboxes: [] }),
      close: async () => {},
    };
  }

  private store(): RunStore {
    const store = {
      started: () => this.started(),
      renew: async () => "held" as const,
      pulling: async () => void this.happened.push("pulling"),
      append: () => this.append(),
      finish: async (_attempt: unknown, ended: Ended) => {
        this.happened.push("finished");
        this.ended = ended;
        return true;
      },
      release: async (_attempt: unknown, why: string) => {
        this.happened.push("released");
        this.givenUp = why;
      },
    };
    return store as unknown as RunStore;
  }
}

describe("an attempt", () => {
  it("lets go of its image once its sandbox is removed, and not before", async () => {
    const world = new World();
    const execution = world.execute();
    world.exit();
    await execution;
    expect(world.happened).toEqual(["finished", "closed", "image released"]);
  });

  it("lets go of its image when its sandbox cannot be made", async () => {
    const world = new World();
    world.open = () => Promise.reject(new MayflyError("host_unavailable", "no cgroup"));
    await world.execute();
    expect(world.happened).toEqual(["image released", "released"]);
  });

  it("asks for its image as the request says", async () => {
    const world = new World();
    const execution = world.execute({}, { pull: "always" });
    world.exit();
    await execution;
    expect(world.pull).toBe("always");
  });

  it("is given up only once its sandbox is gone, when the store refuses it", async () => {
    const world = new World();
    world.started = () => Promise.reject(new Error("OOM command not allowed"));
    await world.execute();
    expect(world.happened).toEqual(["closed", "image released", "released"]);
  });

  it("is not given up by this host at all when its sandbox cannot be removed: the lease has to run out", async () => {
    const world = new World();
    world.started = () => Promise.reject(new Error("no"));
    world.close = () => Promise.reject(new MayflyError("host_unavailable", "cgroup cannot be removed"));
    await world.execute();
    expect(world.happened).toEqual(["closed", "image released"]);
  });

  it("is given up, and its program ended, when its output can no longer be stored", async () => {
    const world = new World();
    world.append = () => Promise.reject(new Error("MISCONF"));
    const execution = world.execute();
    world.stdout.write("some output");
    await execution;
    expect(world.happened).toEqual(["closed", "image released", "released"]);
    expect(world.givenUp).toContain("MISCONF");
  });

  it("is killed at once, and given up, when its hold was lost before it started", async () => {
    const world = new World();
    world.started = async () => false;
    await world.execute();
    expect(world.happened).toEqual(["killed", "closed", "image released", "released"]);
  });

  it("is rejected with the reason of an image that cannot be had", async () => {
    const world = new World();
    world.ensureImage = () => Promise.reject(new MayflyError("image_not_found", "no such image"));
    await world.execute();
    expect(world.ended?.outcome).toEqual({ kind: "rejected", code: "image_not_found", message: "no such image" });
    expect(world.ended?.receipt.phases).toMatchObject({ pull: expect.any(Number) });
  });

  it("ends at its start clock while the image is still pulled", async () => {
    const world = new World();
    world.ensureImage = (signal) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    const execution = world.execute({ start: "1s" });
    await execution;
    expect(world.ended?.outcome).toEqual({ kind: "timed_out", clock: "start", limit: "1s" });
  });

  it("is cancelled politely: SIGTERM first", async () => {
    const world = new World();
    world.started = async () => {
      world.executor.obey({ verb: "cancel", run: "run_1" });
      return true;
    };
    const execution = world.execute();
    await new Promise((resolve) => setImmediate(resolve));
    world.exit();
    await execution;
    expect(world.happened[0]).toBe("SIGTERM");
    expect(world.ended?.outcome).toEqual({ kind: "cancelled" });
  });

  it("keeps the outcome of a program that ended in time, however long its output takes to store", async () => {
    const world = new World();
    const stored = Promise.withResolvers<void>();
    world.append = () => stored.promise;
    const execution = world.execute({ run: "100ms" });
    world.stdout.write("slow to store");
    world.exit();
    await world.end.promise;
    await new Promise((resolve) => setTimeout(resolve, 150)); // The run clock would be over by now.
    world.executor.obey({ verb: "cancel", run: "run_1" });
    stored.resolve();
    await execution;
    expect(world.ended?.outcome).toEqual({ kind: "exited", exitCode: 0 });
  });

  it("has its end on its way before its start has been answered: Redis does one after the other", async () => {
    const world = new World();
    world.started = () => new Promise(() => {});
    world.exit();
    await world.execute();
    expect(world.ended).toMatchObject({ outcome: { kind: "exited", exitCode: 0 }, ran: true });
  });

  it("has the same outcome when cleaning up fails", async () => {
    const world = new World();
    world.close = () => Promise.reject(new Error("busy"));
    world.exit();
    await world.execute();
    expect(world.happened).toEqual(["finished", "closed", "image released"]);
    expect(world.ended?.outcome).toEqual({ kind: "exited", exitCode: 0 });
  });
});
