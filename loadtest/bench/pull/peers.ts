// The others, each by its own command line, against daemons of our own.

import { rm } from "node:fs/promises";
import { join } from "node:path";
import { startContainerd } from "../contenders/containerd.ts";
import { findProgram } from "../contenders/contender.ts";
import { startDocker } from "../contenders/docker.ts";
import { runLong } from "../long-command.ts";
import type { Workshop } from "../workshop.ts";
import { type Puller, timed } from "./puller.ts";

export async function openDocker(workshop: Workshop): Promise<Puller> {
  const { docker, version, stop } = await startDocker(workshop);
  return {
    name: "docker",
    note: `docker pull, Docker ${version}`,
    pull: (reference) => timed(() => runLong([...docker, "pull", "--quiet", reference])),
    forget: (reference) => runLong([...docker, "image", "rm", "--force", reference]),
    close: stop,
  };
}

export async function openContainerd(workshop: Workshop): Promise<Puller> {
  const { ctr, version, stop } = await startContainerd(workshop);
  return {
    name: "containerd",
    note: `ctr images pull, which unpacks, containerd ${version}`,
    pull: (reference) => timed(() => runLong([...ctr, "images", "pull", "--plain-http", reference])),
    forget: (reference) => runLong([...ctr, "images", "rm", "--sync", reference]),
    close: stop,
  };
}

export async function openSkopeoUmoci(workshop: Workshop): Promise<Puller> {
  const [skopeo, umoci] = [findProgram("skopeo"), findProgram("umoci")];
  const room = await workshop.room("skopeo-umoci");
  const [oci, bundle] = [join(room, "oci"), join(room, "bundle")];
  const copy = [skopeo, "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"] as const;
  return {
    name: "skopeo-umoci",
    note: "skopeo copy, then umoci unpack",
    pull: (reference) =>
      timed(async () => {
        await runLong([...copy, `docker://${reference}`, `oci:${oci}:latest`]);
        await runLong([umoci, "unpack", "--image", `${oci}:latest`, bundle]);
      }),
    async forget() {
      for (const path of [oci, bundle]) await rm(path, { recursive: true, force: true });
    },
    close: async () => {},
  };
}
