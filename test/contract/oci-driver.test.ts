// The oci driver with runc, the OCI runtime that works on every kind of cgroup host; and with one that fails.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { traces } from "../helpers/leak-check.ts";
import { makeRuntime } from "../helpers/runtime.ts";
import { sandboxDriverContract } from "./sandbox-driver.ts";

sandboxDriverContract("oci (runc)", () => makeRuntime({ driver: "oci" }));

describe("an OCI runtime that fails", () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "mayfly-broken-"));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  /** runc, but for one verb. */
  async function broken(verb: string, script: string): Promise<string> {
    const path = join(directory, `runc-${verb}`);
    await writeFile(path, `#!/bin/sh\ncase " $* " in *" ${verb} "*) ${script} ;; esac\nexec /usr/sbin/runc "$@"\n`, {
      mode: 0o755,
    });
    return path;
  }

  it.each([
    ["create", "exit 1", "could not create"],
    ["create", "exit 0", "could not create"],
    ["start", "exit 1", "could not start"],
  ])("at %s (%s) is told as such, and nothing is left", async (verb, script, message) => {
    const under = await makeRuntime({ driver: "oci", ociRuntime: await broken(verb, script) });
    await expect(under.open({ argv: ["sleep", "300"] })).rejects.toMatchObject({
      reason: "host_unavailable",
      message: expect.stringContaining(message),
    });
    expect(await traces(under.host)).toMatchObject({ mounts: [], cgroups: [], processes: [], networkNamespaces: [] });
    await under.stop();
  });

  it("to remove a container leaves no process and no cgroup all the same", async () => {
    const under = await makeRuntime({ driver: "oci", ociRuntime: await broken("delete", "exit 1") });
    const { end } = await under.sh("exit 3");
    expect(end.process).toEqual({ kind: "exited", exitCode: 3 });
    expect(await traces(under.host)).toMatchObject({ mounts: [], cgroups: [], processes: [], networkNamespaces: [] });
    await under.stop();
  });

  it("to come back from start is ended by the deadline, container and command alike", async () => {
    const under = await makeRuntime({ driver: "oci", ociRuntime: await broken("start", "exec sleep 300") });
    await expect(under.open({ argv: ["sleep", "300"], deadlineMs: 500 })).rejects.toMatchObject({
      reason: "host_unavailable",
    });
    expect(await traces(under.host)).toMatchObject({ mounts: [], cgroups: [], processes: [], networkNamespaces: [] });
    await under.stop();
  });

  it("to come back from create is ended by the deadline", async () => {
    const under = await makeRuntime({ driver: "oci", ociRuntime: await broken("create", "exec sleep 300") });
    await expect(under.open({ deadlineMs: 500 })).rejects.toMatchObject({ reason: "host_unavailable" });
    expect(await traces(under.host)).toMatchObject({ mounts: [], cgroups: [], processes: [], networkNamespaces: [] });
    await under.stop();
  });
});
