// Text out of foreign documents and answers, made fit for a message: a message is kept with its run, sent, and shown on terminals.

/** Long enough for any media type that has a meaning (RFC 6838 wants names below 64 characters), and no burden to whoever keeps it. */
const MAX_SHOWN_CHARACTERS = 128;

/** One line of printable ASCII, cut off where it is too long. */
export function shown(text: string, maxCharacters = MAX_SHOWN_CHARACTERS): string {
  const printable = text
    .slice(0, maxCharacters * 2)
    .replace(/[^\x20-\x7e]+/g, " ")
    .trim();
  return printable.length > maxCharacters ? `${printable.slice(0, maxCharacters)}…` : printable;
}

export function quoted(text: string): string {
  return JSON.stringify(shown(text));
}
