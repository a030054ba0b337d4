// Command-line flags, as docker's users write them: `--name value`, `--name=value`, `-nvalue`, `-n value`, `-abn value`.
// Pure: a table and arguments in, typed values out.

import { nearest } from "./nearest.ts";
import { UsageError } from "./usage-error.ts";

export interface Flag {
  /** One letter, for `-x`. */
  readonly short?: string;
  /** What its value is called in the help, such as `DURATION`; a flag without one is a switch. */
  readonly value?: string;
  /** Every value counts; of other flags the last one does. */
  readonly many?: true;
  readonly says: string;
}

/** Flags by their long names. */
export type FlagTable = Readonly<Record<string, Flag>>;

type ValueOf<F extends Flag> = F extends { value: string }
  ? F extends { many: true }
    ? readonly string[]
    : string | undefined
  : boolean;

export type Flags<T extends FlagTable> = { readonly [K in keyof T]: ValueOf<T[K]> };

export interface Arguments<T extends FlagTable> {
  readonly flags: Flags<T>;
  readonly operands: readonly string[];
}

export interface FlagOptions {
  /** The first operand ends the flags, and all that follows it belongs to it, whatever it looks like. */
  readonly stopAtOperand?: boolean;
  /** Flags that people will try (long name or letter), and what to tell them. */
  readonly absent?: Readonly<Record<string, string>>;
}

/** `--` ends the flags; a lone `-` is an operand. Throws UsageError for an unknown flag or a missing or surplus value. */
export function parseFlags<T extends FlagTable>(
  args: readonly string[],
  table: T,
  { stopAtOperand = false, absent = {} }: FlagOptions = {},
): Arguments<T> {
  const queue = [...args];
  const operands: string[] = [];
  const flags = emptyFlags(table);
  while (queue.length > 0) {
    const arg = String(queue.shift());
    if (arg === "--") {
      operands.push(...queue.splice(0));
    } else if (arg.startsWith("--")) {
      readLong(arg, { queue, flags, table, absent });
    } else if (arg.startsWith("-") && arg !== "-") {
      readShort(arg, { queue, flags, table, absent });
    } else {
      operands.push(arg);
      if (stopAtOperand) operands.push(...queue.splice(0));
    }
  }
  // Every entry of the table has its value by now, of the kind that the table says.
  return { flags: Object.fromEntries(flags) as Flags<T>, operands };
}

type FlagValue = boolean | string | string[] | undefined;

interface Reading {
  readonly queue: string[];
  readonly flags: Map<string, FlagValue>;
  readonly table: FlagTable;
  readonly absent: Readonly<Record<string, string>>;
}

function emptyFlags(table: FlagTable): Map<string, FlagValue> {
  return new Map(
    Object.entries(table).map(([name, flag]) => [name, flag.many ? [] : flag.value === undefined ? false : undefined]),
  );
}

/** `--name`, `--name=value`, or `--name` with its value in the next argument. */
function readLong(arg: string, reading: Reading): void {
  const equals = arg.indexOf("=");
  const name = equals === -1 ? arg.slice(2) : arg.slice(2, equals);
  const inline = equals === -1 ? undefined : arg.slice(equals + 1);
  const flag = Object.hasOwn(reading.table, name) ? reading.table[name] : undefined;
  if (!flag) throw unknownFlag(`--${name}`, name, reading);
  if (flag.value === undefined) reading.flags.set(name, switchValue(name, inline));
  else store(name, flag, { ...reading, value: inline ?? nextValue(`--${name}`, flag, reading) });
}

/** `-ie A=1`: letters of switches, then at most one flag with a value, which is the rest or the next argument. */
function readShort(arg: string, reading: Reading): void {
  for (let at = 1; at < arg.length; at++) {
    const letter = arg.charAt(at);
    const [name, flag] = Object.entries(reading.table).find(([, { short }]) => short === letter) ?? [];
    if (name === undefined || flag === undefined) {
      throw unknownFlag(arg.length > 2 ? `-${letter} (in ${arg})` : arg, letter, reading);
    }
    if (flag.value === undefined) {
      reading.flags.set(name, true);
      continue;
    }
    const rest = arg.slice(at + 1).replace(/^=/, "");
    store(name, flag, { ...reading, value: at + 1 < arg.length ? rest : nextValue(`-${letter}`, flag, reading) });
    return;
  }
}

function store(name: string, flag: Flag, { flags, value }: Reading & { value: string }): void {
  const held = flags.get(name);
  flags.set(name, flag.many && Array.isArray(held) ? [...held, value] : value);
}

/** The next argument is the value even if it looks like a flag: `-e -x` is docker's way too, and `--grace -1` is an error of its own. */
function nextValue(written: string, flag: Flag, { queue }: Reading): string {
  const value = queue.shift();
  if (value === undefined) throw new UsageError(`${written} needs a value: ${flag.value}`);
  return value;
}

function switchValue(name: string, inline: string | undefined): boolean {
  if (inline === undefined || inline === "true" || inline === "1") return true;
  if (inline === "false" || inline === "0") return false;
  throw new UsageError(`--${name} is a switch: it takes true or false, not ${JSON.stringify(inline)}`);
}

function unknownFlag(written: string, name: string, { table, absent }: Reading): UsageError {
  const advice = Object.hasOwn(absent, name) ? absent[name] : undefined;
  if (advice !== undefined) return new UsageError(`${written} is not a flag of Mayfly's: ${advice}`);
  const near = name.length > 1 ? nearest(name, Object.keys(table)) : undefined;
  return new UsageError(`there is no flag ${written}${near === undefined ? "" : `; did you mean --${near}?`}`);
}
