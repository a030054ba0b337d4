// mayfly load: images from an archive onto hosts.

import { Readable } from "node:stream";
import type { HostFailure } from "../../core/images.ts";
import { defineCommand } from "../command.ts";
import { tellFailures } from "../host-failures.ts";
import { printJson } from "../io.ts";
import { printable } from "../table.ts";
import { UsageError } from "../usage-error.ts";

export const load = defineCommand({
  name: "load",
  synopsis: "",
  says: "Loads images from an archive, and prints their references: onto all hosts, unless told otherwise.",
  notes: ["The archive is an OCI layout or what 'docker save' makes, as tar, plain or compressed."],
  flags: {
    input: { short: "i", value: "FILE", says: "The archive; stdin without it." },
    host: { value: "HOST", says: "Only onto this one." },
  },
  operands: { min: 0, max: 0 },
  examples: ["mayfly load -i image.tar", "docker save busybox | mayfly load"],
  execute: async ({ flags: { input, host }, json, io, client }) => {
    if (input === undefined && io.terminal.isInput)
      throw new UsageError("stdin is a terminal: -i FILE is needed, or an archive on stdin");
    const source = input === undefined ? io.stdin() : io.openFile(input);
    const archive = Readable.toWeb(source) as ReadableStream<Uint8Array>;
    const failed: HostFailure[] = [];
    for await (const event of client.images.load(archive, { host })) {
      if ("hosts" in event) continue;
      if ("error" in event) failed.push(event);
      else if (json) await printJson(io, event);
      else for (const each of event.references) await io.stdout.write(`${event.host}: ${printable(each)}\n`);
    }
    return tellFailures(failed, { io, json });
  },
});
