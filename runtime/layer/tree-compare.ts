// Whether two directory trees are the same: names, types, modes, owners, sizes, times, links, extended attributes, content.

import { dumpTree, type TreeEntry } from "./tree-dump.ts";

export interface Expected {
  readonly directory: string;
  /**
   * Epoch milliseconds. A directory that the layer only implies has the time at which it was made, which is not to be compared:
   * it is told by being no older than this.
   */
  readonly unpackedSinceMs: number;
}

/** The first difference, in words, or undefined. Errors: `host_unavailable`, the signal's reason: a tree may have terabytes of holes. */
export async function compareTrees(
  actual: string,
  { directory, unpackedSinceMs }: Expected,
  signal: AbortSignal,
): Promise<string | undefined> {
  await using is = dumpTree(actual, signal);
  await using should = dumpTree(directory, signal);
  for (;;) {
    const [here, there] = await Promise.all([is.next(), should.next()]);
    signal.throwIfAborted(); // Of a tree whose reading was ended nothing is missing.
    const [entry, expected] = [here.value || undefined, there.value || undefined];
    if (!entry && !expected) return undefined;
    const difference = differenceOf(entry, expected, unpackedSinceMs);
    if (difference) return difference;
  }
}

function differenceOf(
  entry: TreeEntry | undefined,
  expected: TreeEntry | undefined,
  sinceMs: number,
): string | undefined {
  if (!expected) return `${entry?.name} should not be there`;
  if (!entry) return `${expected.name} is missing`;
  if (entry.name !== expected.name) return `${entry.name} is where ${expected.name} should be`;
  if (entry.content !== expected.content) return `${entry.name} has other content`;
  if (entry.facts !== expected.facts) return `${entry.name} is ${entry.facts}, not ${expected.facts}`;
  const isImplied = expected.isDirectory && Number(expected.mtime) * 1000 >= sinceMs;
  if (entry.mtime !== expected.mtime && !isImplied) return `${entry.name} is of ${entry.mtime}, not ${expected.mtime}`;
  return undefined;
}
