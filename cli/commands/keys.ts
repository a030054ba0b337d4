// mayfly keys: API keys made, listed, rotated and revoked. The first word says what.

import { defineCommand } from "../command.ts";
import { KEY_ACTIONS, KEY_FLAGS } from "../key-actions.ts";
import { nearest } from "../nearest.ts";
import { UsageError } from "../usage-error.ts";

export const keys = defineCommand({
  name: "keys",
  synopsis: "ACTION [NAME | ID...]",
  says: "Makes, lists, rotates and revokes API keys (operators).",
  notes: [
    [
      "create NAME    prints a new key, this once; NAME is for people to know it by",
      "ls             lists keys, of all tenants",
      "rotate ID      prints another key in its place, this once",
      "revoke ID...   ends keys, within seconds at every gateway",
    ].join("\n"),
  ],
  flags: KEY_FLAGS,
  operands: { min: 1, max: Number.POSITIVE_INFINITY },
  examples: [
    "mayfly keys create --tenant acme --scope submit --scope read nightly > key-file",
    "mayfly keys rotate --overlap 1h key_3v8k2m9q4t7x > key-file",
    "mayfly keys revoke key_3v8k2m9q4t7x",
  ],
  execute: async (input) => {
    const [name = "", ...operands] = input.operands;
    const action = Object.hasOwn(KEY_ACTIONS, name) ? KEY_ACTIONS[name] : undefined;
    if (!action) throw unknownAction(name);
    const { min, max, takes, flags } = action;
    if (operands.length < min)
      throw new UsageError(`${takes.replace("...", "")} is missing; it takes ${name} ${takes}`);
    // What is too much may be a key that was given by mistake.
    if (operands.length > max)
      throw new UsageError(`there are too many arguments; it takes ${`${name} ${takes}`.trim()}`);
    for (const [flag, value] of Object.entries(input.flags)) {
      const isGiven = flag in KEY_FLAGS && value !== undefined && (!Array.isArray(value) || value.length > 0);
      if (isGiven && !flags.includes(flag)) throw new UsageError(`${name} has no use for --${flag}`);
    }
    return action.execute(operands, input);
  },
});

function unknownAction(name: string): UsageError {
  const names = Object.keys(KEY_ACTIONS);
  const near = nearest(name, names);
  return new UsageError(
    near === undefined
      ? `there is no such action: ${names.join(", ")}`
      : `there is no action ${JSON.stringify(name)}; did you mean ${near}?`,
  );
}
