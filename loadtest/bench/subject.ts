// What is run: one image and one command, in every form that a contender takes. All forms are derived from the one image
// that the registry has.

import { chmod } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../infra/command.ts";
import { pushBusybox } from "../../infra/image.ts";
import type { Workshop } from "./workshop.ts";

export interface Subject {
  readonly name: string;
  /** In the workshop's registry. */
  readonly reference: string;
  /** A file for `docker load` and its like, and what the image is called in it. */
  readonly archive: string;
  readonly tag: string;
  /** The image's files, owned as in the image. */
  readonly rootfs: string;
  readonly argv: readonly [string, ...string[]];
}

/** `true` of Debian's static busybox: a program that costs as little as a program can. */
export async function busyboxSubject(workshop: Workshop): Promise<Subject> {
  const directory = join(workshop.directory, "image");
  const reference = await pushBusybox({ registry: workshop.registry, directory });
  return subjectOf(workshop, { name: "busybox", reference, argv: ["true"] });
}

export async function subjectOf(
  workshop: Workshop,
  { name, reference, argv }: Pick<Subject, "name" | "reference" | "argv">,
): Promise<Subject> {
  const room = await workshop.room(`subject-${name}`);
  const tag = `docker.io/mayfly-bench/${name}:latest`;
  const archive = join(room, "archive.tar");
  const copy = (target: string) =>
    run(["skopeo", "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", `docker://${reference}`, target]);
  await copy(`docker-archive:${archive}:${tag}`);
  await copy(`oci:${room}/oci:latest`);
  await run(["umoci", "unpack", "--image", `${room}/oci:latest`, `${room}/bundle`]);
  await chmod(`${room}/bundle`, 0o711);
  return { name, reference, archive, tag, rootfs: `${room}/bundle/rootfs`, argv };
}
