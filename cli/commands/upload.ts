// mayfly upload: a directory's files, for runs to come.

import { defineCommand } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { printJson } from "../io.ts";
import { sendDirectory } from "../run-files.ts";

export const upload = defineCommand({
  name: "upload",
  synopsis: "DIR",
  says: "Sends a directory's files, and prints the id by which runs may have them.",
  notes: ["Files and directories only: symlinks are neither followed nor sent."],
  flags: {},
  operands: { min: 1, max: 1 },
  examples: ["id=$(mayfly upload src); mayfly run --upload-id $id:/src busybox ls -R /src"],
  execute: async ({ operands: [directory = ""], json, io, client }) => {
    const id = await sendDirectory(directory, { client, io });
    await (json ? printJson(io, await client.uploads.inspect(id)) : io.stdout.write(`${id}\n`));
    return EXIT.ok;
  },
});
