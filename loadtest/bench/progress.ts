// What the benchmark is doing now. On a terminal one line that is written over; elsewhere nothing, as nobody watches a log live.

export type Say = (text: string) => void;

const ERASE_LINE = "\r\u001b[K";
const WIDTH = 110;

export function progressOn(screen: { isTTY?: boolean; write(text: string): unknown }): { say: Say; clear: () => void } {
  if (screen.isTTY !== true) return { say: () => {}, clear: () => {} };
  return {
    say: (text) => screen.write(`${ERASE_LINE}… ${text.slice(0, WIDTH)}`),
    clear: () => screen.write(ERASE_LINE),
  };
}
