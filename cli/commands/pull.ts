// mayfly pull: an image made ready on hosts before a run needs it.

import type { HostFailure } from "../../core/images.ts";
import { defineCommand } from "../command.ts";
import { tellFailures, tellNobody } from "../host-failures.ts";
import { printJson } from "../io.ts";
import { PullBoard } from "../pull-board.ts";
import { Redraw } from "../redraw.ts";
import { printable } from "../table.ts";

export const pull = defineCommand({
  name: "pull",
  synopsis: "REFERENCE",
  says: "Has hosts pull an image, all of them unless told otherwise, and shows how far they are.",
  notes: [
    "At a terminal there is a bar for each layer, of all hosts together; elsewhere a line for each\nlayer and host. The registry is asked what a tag stands for only if a host does not know it.",
  ],
  flags: {
    host: { value: "HOST", says: "Only this one." },
    always: { says: "Ask the registry what the tag stands for, also where the image is there." },
  },
  operands: { min: 1, max: 1 },
  examples: ["mayfly pull busybox", "mayfly pull --host worker-1 docker.io/library/python:3.13"],
  execute: async ({ flags: { host, always }, operands: [reference = ""], json, io, client }) => {
    const board = new PullBoard();
    const screen = new Redraw(io);
    const isDrawn = io.terminal.isOutput && !json;
    const draw = (isLast = false) => {
      const { rows, columns } = io.terminal.size();
      return screen.draw(() => board.draw(rows - 1, columns).map(printable), { isLast });
    };
    const failed: HostFailure[] = [];
    let hosts: readonly string[] = [];
    for await (const event of client.images.pull(reference, { host, pull: always ? "always" : "missing" })) {
      const lines = board.tell(event);
      if ("hosts" in event) hosts = event.hosts;
      else if (event.kind === "failed") failed.push(failureOf(event));
      if (json) await printJson(io, event);
      else if (isDrawn) await draw();
      else for (const line of lines) await io.stdout.write(`${printable(line)}\n`);
    }
    if (isDrawn) await draw(true);
    return Math.max(await tellFailures(failed, { io, json }), await tellNobody(hosts.length, "that could pull it", io));
  },
});

function failureOf({ host, reason, message }: { host: string; reason: string; message: string }): HostFailure {
  return { host, error: { code: "", reason, message } };
}
