// mayfly rmi: images taken away from hosts.

import { defineCommand } from "../command.ts";
import { eachRun } from "../each-run.ts";
import { EXIT } from "../exit-codes.ts";
import { tellFailures, tellNobody, withoutAbsent } from "../host-failures.ts";
import { humanSize } from "../human-size.ts";
import { parted } from "../image-client.ts";
import { printJson } from "../io.ts";

export const rmi = defineCommand({
  name: "rmi",
  synopsis: "REFERENCE...",
  says: "Removes images from hosts, and prints what was removed and what that has freed.",
  notes: [
    "An image that a run has, or that is pinned, stays, and is told as an error. A name is taken away\nfirst; layers go with the last image that has them.",
  ],
  flags: { host: { value: "HOST", says: "Only from this one." } },
  operands: { min: 1, max: Number.POSITIVE_INFINITY },
  examples: ["mayfly rmi busybox", "mayfly rmi --host worker-1 busybox python:3.13"],
  execute: async ({ flags: { host }, operands, json, io, client }) => {
    let exitCode: number = EXIT.ok;
    const told = await eachRun(operands, { io, json, helpOf: "mayfly rmi" }, async (reference) => {
      const { done, failed } = parted((await client.images.remove(reference, { host })).hosts);
      for (const { host, reclaimed } of done) {
        const line = `${host}: ${reference}, ${humanSize(reclaimed.bytes)} freed\n`;
        await (json ? printJson(io, { host, reference, ...reclaimed }) : io.stdout.write(line));
      }
      const code = await tellFailures(withoutAbsent(failed, done.length > 0), { io, json });
      const nobody = await tellNobody(done.length + failed.length, `that could have ${reference}`, io);
      exitCode = Math.max(exitCode, code, nobody);
    });
    return Math.max(exitCode, told);
  },
});
