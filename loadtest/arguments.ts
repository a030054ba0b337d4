// The command line of the load test: a scenario and flags. What is not understood is refused, with what would be.

import { DURATION_FORM, parseDuration } from "../core/units.ts";
import { SCENARIOS } from "./k6/scenarios.js";

export interface LoadTest {
  readonly scenario: string;
  /** A gateway that is there already, and an image that its workers can pull; without it a stack of our own is brought up. */
  readonly target?: { readonly url: string; readonly image: string };
  readonly durationS?: number;
  /** Runs a second; of `burst`, how many at once. */
  readonly rate?: number;
  readonly summaryFile?: string;
}

export type Command = { readonly kind: "help" } | { readonly kind: "list" } | ({ readonly kind: "load" } & LoadTest);

const FLAGS = ["--url", "--image", "--duration", "--rate", "--summary"] as const;
type Flag = (typeof FLAGS)[number];

const DURATION = { minMs: 1_000, maxMs: 24 * 3_600_000 };
/** More than one machine can both ask for and do. */
const MAX_RATE = 5_000;

/** Throws for a line that it does not understand. */
export function parseArguments(argv: readonly string[]): Command {
  const words: string[] = [];
  const given = new Map<Flag, string>();
  for (let i = 0; i < argv.length; i++) {
    const argument = argv[i] ?? "";
    if (argument === "--help") return { kind: "help" };
    if (!argument.startsWith("-")) words.push(argument);
    else i += takeFlag(argument, argv[i + 1], given);
  }
  const [word, ...more] = words;
  if (word === undefined) throw new Error(`which scenario? There are ${names()}; \`list\` says what each shows`);
  if (more.length > 0) throw new Error(`one scenario at a time: ${words.join(", ")}`);
  if (word === "list") return { kind: "list" };
  return { kind: "load", scenario: scenarioOf(word), ...targetOf(given, word), ...numbersOf(given) };
}

/** How many further words it has used up: none for `--flag=value`. */
function takeFlag(argument: string, next: string | undefined, given: Map<Flag, string>): number {
  const [name = "", ...rest] = argument.split("=");
  const flag = FLAGS.find((each) => each === name);
  if (!flag) throw new Error(`unknown flag ${name}; there are ${FLAGS.join(", ")} and --help`);
  if (given.has(flag)) throw new Error(`${flag} is given twice`);
  const value = rest.length > 0 ? rest.join("=") : next;
  if (value === undefined || value === "") throw new Error(`${flag} lacks its value`);
  given.set(flag, value);
  return rest.length > 0 ? 0 : 1;
}

function scenarioOf(word: string): string {
  if (Object.hasOwn(SCENARIOS, word)) return word;
  throw new Error(`unknown scenario ${word}; there are ${names()}`);
}

function targetOf(given: Map<Flag, string>, scenario: string): Pick<LoadTest, "target"> {
  const [url, image] = [given.get("--url"), given.get("--image")];
  if (url === undefined && image === undefined) return {};
  if (url === undefined) throw new Error("--image goes with --url: a stack of our own has an image of its own");
  if (image === undefined) throw new Error("--url goes with --image: one that the workers there can pull");
  if (!/^https?:\/\/[^/]/.test(url)) throw new Error(`--url ${url} is not a URL such as http://127.0.0.1:8080`);
  if (SCENARIOS[scenario]?.isLeakChecked)
    throw new Error(`${scenario} looks at its host's kernel: it needs a stack of its own, so leave --url out`);
  return { target: { url: url.replace(/\/+$/, ""), image } };
}

function numbersOf(given: Map<Flag, string>): Pick<LoadTest, "durationS" | "rate" | "summaryFile"> {
  const [duration, rate, summaryFile] = [given.get("--duration"), given.get("--rate"), given.get("--summary")];
  return {
    ...(duration === undefined ? {} : { durationS: secondsOf(duration) }),
    ...(rate === undefined ? {} : { rate: rateOf(rate) }),
    ...(summaryFile === undefined ? {} : { summaryFile }),
  };
}

function secondsOf(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw new Error(`--duration ${text} is not ${DURATION_FORM}`);
  if (ms < DURATION.minMs || ms > DURATION.maxMs) throw new Error(`--duration ${text} is not from 1s to 24h`);
  return ms / 1000;
}

function rateOf(text: string): number {
  const rate = /^\d+(\.\d+)?$/.test(text) ? Number(text) : 0;
  if (rate > 0 && rate <= MAX_RATE) return rate;
  throw new Error(`--rate ${text} is not a number over 0 and up to ${MAX_RATE}`);
}

function names(): string {
  return Object.keys(SCENARIOS).join(", ");
}
