// mayfly image: what else there is to know of images, and to do with them. The first word says what.

import { chooseAction } from "../action.ts";
import { defineCommand, type Input } from "../command.ts";
import { IMAGE_ACTIONS } from "../image-actions.ts";
import { UsageError } from "../usage-error.ts";

export const IMAGE_FLAGS = {
  host: { value: "HOST", says: "Only on this one." },
  "unused-for": { value: "DURATION", says: "Of prune: only what no run has used for so long." },
  repair: { says: "Of verify: what is wrong is made anew, or fetched." },
} as const;

export type ImageInput = Input<typeof IMAGE_FLAGS>;

export const image = defineCommand({
  name: "image",
  synopsis: "ACTION [REFERENCE...]",
  says: "Looks at images, or keeps, checks and clears them.",
  notes: [
    [
      "inspect REFERENCE...   all there is to know, as JSON",
      "history REFERENCE...   how the image was made, the newest step first",
      "pin REFERENCE...       keeps images whatever else needs the room; unpin no longer",
      "prune                  removes what nothing holds and nobody pinned",
      "verify [REFERENCE...]  reads everything again, of these images or of all",
      "usage                  what images take on disks",
    ].join("\n"),
  ],
  actions: Object.keys(IMAGE_ACTIONS),
  flags: IMAGE_FLAGS,
  operands: { min: 1, max: Number.POSITIVE_INFINITY },
  examples: ["mayfly image history busybox", "mayfly image prune --unused-for 7d", "mayfly image verify --repair"],
  execute: async (input) => {
    const [name = "", ...references] = input.operands;
    const action = chooseAction(IMAGE_ACTIONS, name);
    if (references.length < action.min) throw new UsageError(`REFERENCE is missing; it takes ${name} REFERENCE...`);
    if (references.length > action.max)
      throw new UsageError(`${JSON.stringify(references[action.max])} is one argument too many`);
    if (input.flags["unused-for"] !== undefined && name !== "prune")
      throw new UsageError(`${name} has no use for --unused-for`);
    if (input.flags.repair && name !== "verify") throw new UsageError(`${name} has no use for --repair`);
    return action.execute(references, input);
  },
});
