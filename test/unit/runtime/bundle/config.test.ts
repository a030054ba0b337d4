import { describe, expect, it } from "vitest";
import { bundleConfig, pidsLimit } from "../../../../runtime/bundle/config.ts";
import { RLIMITS } from "../../../../runtime/bundle/rlimits.ts";
import type { SandboxSpec } from "../../../../runtime/task/sandbox.ts";

const spec: SandboxSpec = {
  id: "run_x-1",
  image: {
    reference: "r",
    digest: "d",
    manifestDigest: "m",
    config: { env: [], entrypoint: [], command: [], workdir: "/", user: "" },
    layers: ["/l"],
  },
  argv: ["prog", "arg"],
  env: ["A=1"],
  workdir: "/w",
  user: "app",
  hostname: "h",
  limits: { cpus: 0.5, memoryBytes: 64 * 2 ** 20, pids: 10, diskBytes: 2 ** 20 },
  deadlineMs: 1000,
};
const options = {
  mountpoint: "/run/mayfly",
  cgroupPath: "/mayfly-h/run_x-1",
  uidBase: 100_000,
  seccomp: { defaultAction: "SCMP_ACT_ERRNO", architectures: [], syscalls: [] },
  countsSwap: true,
  rlimits: RLIMITS,
};

// biome-ignore lint/suspicious/noExplicitAny: the value is OCI JSON, which is looked into here.
const config = bundleConfig(spec, options) as any;

describe("the OCI configuration of a sandbox", () => {
  it("asks for every namespace, none of them by path", () => {
    expect(config.linux.namespaces).toEqual(
      ["pid", "mount", "ipc", "uts", "network", "cgroup", "user"].map((type) => ({ type })),
    );
  });

  it("maps 65,536 ids from the base, and nothing of the host's own", () => {
    expect(config.linux.uidMappings).toEqual([{ containerID: 0, hostID: 100_000, size: 65_536 }]);
    expect(config.linux.gidMappings).toEqual(config.linux.uidMappings);
  });

  it("lets no memory be swapped", () => {
    expect(config.linux.resources).toMatchObject({
      memory: { limit: 67_108_864, swap: 67_108_864 },
      cpu: { quota: 50_000, period: 100_000 },
    });
  });

  it("asks for no limit of swap where the kernel has none: a runtime would fail to set it", () => {
    const uncounted = bundleConfig(spec, { ...options, countsSwap: false }) as typeof config;
    expect(uncounted.linux.resources.memory).toEqual({ limit: 67_108_864 });
  });

  it("gives the init a place of its own among the processes, and a runtime's own threads theirs until the program is there", () => {
    const bundled = (pids: number) => {
      const few = { ...spec, limits: { ...spec.limits, pids } };
      return [(bundleConfig(few, options) as typeof config).linux.resources.pids.limit, pidsLimit(few)];
    };
    expect(bundled(1)).toEqual([16, 2]);
    expect(bundled(10)).toEqual([16, 11]);
    expect(bundled(64)).toEqual([65, 65]);
  });

  it("denies every device before it allows some", () => {
    expect(config.linux.resources.devices[0]).toEqual({ allow: false, access: "rwm" });
    expect(
      config.linux.resources.devices
        .slice(1)
        .every((rule: { type: string; access: string }) => rule.type === "c" && !rule.access.includes("m")),
    ).toBe(true);
  });

  it("gives no capability by inheritance, and no new privileges", () => {
    expect(config.process).toMatchObject({ noNewPrivileges: true, capabilities: { inheritable: [], ambient: [] } });
  });

  it("hands the program to the init, which becomes the user", () => {
    expect(config.process.args).toEqual([
      "/dev/mayfly-init",
      "app",
      "/w",
      "user",
      "none",
      "none",
      "none",
      "prog",
      "arg",
    ]);
    expect(config.process.user).toEqual({ uid: 0, gid: 0 });
  });

  it("tells the init which artifacts are wanted, before the program", () => {
    const artifacts = { patterns: ["/out/**", "/x"], maxFiles: 7, maxBytes: 99 };
    // biome-ignore lint/suspicious/noExplicitAny: as above.
    const own = bundleConfig({ ...spec, artifacts }, options) as any;
    expect(own.process.args.slice(5)).toEqual(["none", "2:7:99", "/out/**", "/x", "prog", "arg"]);
  });

  it("adds PATH and HOSTNAME only where nobody has set them", () => {
    expect(config.process.env).toEqual([expect.stringMatching(/^PATH=/), "HOSTNAME=h", "A=1"]);
    // biome-ignore lint/suspicious/noExplicitAny: as above.
    const own = bundleConfig({ ...spec, env: ["PATH=/x", "HOSTNAME=y", "HOME=/z"] }, options) as any;
    expect(own.process.env).toEqual(["PATH=/x", "HOSTNAME=y", "HOME=/z"]);
    expect(own.process.args[3]).toBe("kept");
  });
});
