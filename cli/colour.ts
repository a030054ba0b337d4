// Colours, where they help and nobody minds: at a terminal that has them, and never with NO_COLOR (https://no-color.org).

import type { Io } from "./io.ts";

const CODES = { green: 32, yellow: 33, red: 31, dim: 2 } as const;

export type Colour = keyof typeof CODES;
export type Paint = (text: string, colour: Colour | undefined) => string;

export function paintFor({ env, terminal }: Pick<Io, "env" | "terminal">): Paint {
  const isPlain = !terminal.isOutput || Boolean(env.NO_COLOR) || env.TERM === "dumb";
  return (text, colour) => (isPlain || colour === undefined ? text : `\x1b[${CODES[colour]}m${text}\x1b[0m`);
}
