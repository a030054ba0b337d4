// Help, printed from the same tables that the arguments are read with.

import type { Flag, FlagTable } from "./flags.ts";
import { CLI_SETTINGS } from "./settings.ts";
import { alignColumns } from "./table.ts";

/** The face of a command that help and documentation are made from. */
export interface CommandFace {
  readonly name: string;
  /** As the help shows them, such as `ID...`. */
  readonly synopsis: string;
  readonly says: string;
  readonly flags: FlagTable;
  /** What its first operand may be, if it does several things. */
  readonly actions?: readonly string[];
  /** Its first operand ends its flags. */
  readonly stopAtOperand?: boolean;
  readonly examples: readonly string[];
  /** More to know, a paragraph a string. */
  readonly notes?: readonly string[];
}

export function commandHelp(command: CommandFace, globalFlags: FlagTable): string {
  const usage = ["mayfly", command.name, "[FLAGS]", command.synopsis].filter((word) => word !== "").join(" ");
  return [
    `${command.says}\n`,
    `Usage: ${usage}\n`,
    ...section("Flags", flagRows(command.flags)),
    ...section("Global flags", flagRows(globalFlags)),
    ...(command.notes ?? []).map((text) => `${text}\n`),
    "Examples:",
    ...command.examples.map((example) => `  ${example}`),
    "",
  ].join("\n");
}

export function programHelp(commands: readonly CommandFace[], globalFlags: FlagTable): string {
  return [
    "Runs containers on demand: one command in one fresh container, through a Mayfly gateway.\n",
    "Usage: mayfly [GLOBAL FLAGS] COMMAND ...\n",
    ...section(
      "Commands",
      commands.map(({ name, synopsis, says }) => [`${name} ${synopsis}`, says]),
    ),
    ...section("Global flags", flagRows(globalFlags)),
    ...section(
      "Environment",
      Object.values(CLI_SETTINGS).map(({ variable, says }) => [variable, says]),
    ),
    "Examples:",
    "  mayfly run busybox echo hello",
    "  mayfly ps",
    "  mayfly help run",
    "",
  ].join("\n");
}

function section(title: string, rows: readonly (readonly string[])[]): string[] {
  return rows.length === 0
    ? []
    : [
        `${title}:`,
        `${alignColumns(rows)
          .map((line) => `  ${line}\n`)
          .join("")}`,
      ];
}

function flagRows(flags: FlagTable): string[][] {
  return Object.entries(flags).map(([name, flag]) => [flagTitle(name, flag), flag.says]);
}

/** `-e, --env NAME[=VALUE]`. */
export function flagTitle(name: string, { short, value }: Flag): string {
  return `${short === undefined ? "    " : `-${short}, `}--${name}${value === undefined ? "" : ` ${value}`}`;
}
