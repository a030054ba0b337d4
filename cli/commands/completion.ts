// mayfly completion: what makes a shell complete this command.

import { chooseAction } from "../action.ts";
import { defineCommand } from "../command.ts";
import { COMPLETION_SCRIPTS } from "../completion-scripts.ts";
import { EXIT } from "../exit-codes.ts";

export const completion = defineCommand({
  name: "completion",
  synopsis: "SHELL",
  says: "Prints what makes bash, zsh or fish complete this command: flags, runs, images, hosts.",
  actions: Object.keys(COMPLETION_SCRIPTS),
  flags: {},
  operands: { min: 1, max: 1 },
  examples: ["source <(mayfly completion bash)", "source <(mayfly completion zsh)", "mayfly completion fish | source"],
  execute: async ({ operands: [shell = ""], io }) => {
    await io.stdout.write(chooseAction(COMPLETION_SCRIPTS, shell));
    return EXIT.ok;
  },
});
