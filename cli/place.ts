// Where on an unfinished command line the cursor is, for completion. Pure.

import type { Flag, FlagTable } from "./flags.ts";
import type { CommandFace } from "./help.ts";

export interface Place {
  readonly command: CommandFace | undefined;
  readonly operands: readonly string[];
  /** What stands at the cursor so far. */
  readonly partial: string;
  /** The flag whose value stands there, and what of the word comes before the value, as `--state=`. */
  readonly awaiting: { readonly flag: Flag; readonly before: string } | undefined;
  /** Flags are none any more here: after `--`, or after the operand that ends them. */
  readonly isPastFlags: boolean;
  /** Global flags with a value that were given already, by name. */
  readonly given: Readonly<Record<string, string>>;
}

interface Walk {
  command: CommandFace | undefined;
  operands: string[];
  isPastFlags: boolean;
  awaiting: { name: string; flag: Flag } | undefined;
  given: Record<string, string>;
}

/** `words` are those after the program's name; the last is the one at the cursor, possibly empty. */
export function placeOf(words: readonly string[], commands: readonly CommandFace[], globals: FlagTable): Place {
  const walk: Walk = { command: undefined, operands: [], isPastFlags: false, awaiting: undefined, given: {} };
  const tableOf = () => ({ ...globals, ...walk.command?.flags });
  for (const word of words.slice(0, -1)) {
    if (walk.awaiting) {
      walk.given[walk.awaiting.name] = word;
      walk.awaiting = undefined;
    } else if (!walk.isPastFlags && word.startsWith("-") && word !== "-") passFlag(word, walk, tableOf());
    else passOperand(word, walk, commands);
  }
  const partial = words.at(-1) ?? "";
  const { command, operands, isPastFlags, given } = walk;
  return { command, operands, partial, isPastFlags, given, awaiting: awaitedAt(partial, walk, tableOf()) };
}

function passFlag(word: string, walk: Walk, table: FlagTable): void {
  if (word === "--") {
    walk.isPastFlags = true;
    return;
  }
  const [written = "", value] = word.startsWith("--") ? word.slice(2).split(/=(.*)/s) : [];
  const name = word.startsWith("--") ? written : nameOfLast(word, table);
  const flag = Object.hasOwn(table, name) ? table[name] : undefined;
  if (flag?.value === undefined) return;
  if (value === undefined) walk.awaiting = { name, flag };
  else walk.given[name] = value;
}

/** `-ie`: the last letter's flag, unless one before it has taken the rest for its value. */
function nameOfLast(word: string, table: FlagTable): string {
  for (const [index, letter] of [...word.slice(1)].entries()) {
    const [name = "", flag] = Object.entries(table).find(([, { short }]) => short === letter) ?? [];
    if (flag?.value !== undefined) return index === word.length - 2 ? name : "";
  }
  return "";
}

function passOperand(word: string, walk: Walk, commands: readonly CommandFace[]): void {
  if (walk.command) {
    walk.operands.push(word);
    if (walk.command.stopAtOperand) walk.isPastFlags = true;
  } else if (word !== "help") walk.command = commands.find(({ name }) => name === word);
}

function awaitedAt(partial: string, { awaiting, isPastFlags }: Walk, table: FlagTable): Place["awaiting"] {
  if (awaiting) return { flag: awaiting.flag, before: "" };
  const [, before = "", name = ""] = /^(--([a-z-]+)=)/.exec(partial) ?? [];
  const flag = Object.hasOwn(table, name) ? table[name] : undefined;
  return !isPastFlags && flag?.value !== undefined ? { flag, before } : undefined;
}
