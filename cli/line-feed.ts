// A program's line feeds, for a terminal in Node's raw mode. Pure.
//
// That mode leaves output processing on (OPOST and ONLCR, see termios(3)), so a line feed would also go back to the first column.
// A program that has switched it off for its own terminal, as full-screen programs do, means only "one line down". A vertical tab
// means the same to every terminal since the VT100, and is not touched.

const LF = 0x0a;
const VT = 0x0b;
const CR = 0x0d;

/** Takes the bytes in order, however they are cut. Line feeds that follow a carriage return are left as they are. */
export function createLineFeeds(): (bytes: Uint8Array) => Uint8Array {
  let before = 0;
  return (bytes) => {
    let changed: Uint8Array | undefined;
    for (let at = bytes.indexOf(LF); at !== -1; at = bytes.indexOf(LF, at + 1)) {
      if ((at === 0 ? before : bytes[at - 1]) === CR) continue;
      changed ??= Uint8Array.from(bytes);
      changed[at] = VT;
    }
    before = bytes.at(-1) ?? before;
    return changed ?? bytes;
  };
}
