// mayfly images: what images hosts have.

import { z } from "zod";
import { ImageInfo } from "../../core/images.ts";
import { defineCommand, FORMAT_FLAG } from "../command.ts";
import { parseTemplate } from "../format.ts";
import { tellFailures } from "../host-failures.ts";
import { humanSize } from "../human-size.ts";
import { parted } from "../image-client.ts";
import { printJson } from "../io.ts";
import { short } from "../pull-board.ts";
import { alignColumns, formatAge } from "../table.ts";

export const images = defineCommand({
  name: "images",
  synopsis: "",
  says: "Lists the images that hosts have, the most recently used first.",
  notes: [
    "SIZE is what the registry sends, ON DISK what it takes unpacked; layers that images share are\ncounted for each. With --json a line is an image of a host.",
  ],
  flags: { host: { value: "HOST", says: "Only of this one." }, format: FORMAT_FLAG },
  operands: { min: 0, max: 0 },
  examples: ["mayfly images", "mayfly images --format '{{.host}} {{.references.0}}'"],
  execute: async ({ flags: { host, format }, json, io, client }) => {
    const template = format === undefined ? undefined : parseTemplate(format, ImageOfHost);
    const { done, failed } = parted((await client.images.list({ host })).hosts);
    const all = done.flatMap((each) => each.images.map((image) => ({ host: each.host, image })));
    if (template) for (const { host: on, image } of all) await io.stdout.write(`${template({ host: on, ...image })}\n`);
    else if (json) for (const each of all) await printJson(io, { host: each.host, ...each.image });
    else await io.stdout.write(`${table(all, Date.now()).join("\n")}\n`);
    return tellFailures(failed, { io, json });
  },
});

/** What a line of `--json` and of `--format` has. */
const ImageOfHost = ImageInfo.extend({ host: z.string() });

interface Row {
  readonly reference: string;
  readonly image: ImageInfo;
  readonly hosts: readonly string[];
  readonly usedAtMs: number;
}

/** One row for a name of an image, whatever number of hosts have it. */
export function table(all: readonly { host: string; image: ImageInfo }[], nowMs: number): string[] {
  const rows = new Map<string, Row>();
  for (const { host, image } of all) {
    for (const reference of image.references.length === 0 ? ["-"] : image.references) {
      const key = `${reference} ${image.manifestDigest}`;
      const before = rows.get(key);
      const usedAtMs = Math.max(before?.usedAtMs ?? 0, Date.parse(image.lastUsedAt));
      rows.set(key, { reference, image, hosts: [...(before?.hosts ?? []), host], usedAtMs });
    }
  }
  const sorted = [...rows.values()].toSorted((a, b) => b.usedAtMs - a.usedAtMs);
  const cells = sorted.map(({ reference, image, hosts, usedAtMs }) => [
    reference,
    short(image.digest),
    humanSize(sum(image, "size")),
    humanSize(sum(image, "unpacked")),
    formatAge(nowMs - usedAtMs),
    hosts.join(","),
  ]);
  return alignColumns([["REFERENCE", "DIGEST", "SIZE", "ON DISK", "USED", "HOSTS"], ...cells]);
}

function sum({ layers }: ImageInfo, of: "size" | "unpacked"): number {
  return layers.reduce((total, layer) => total + layer[of], 0);
}
