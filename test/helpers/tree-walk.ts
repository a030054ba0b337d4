// What is in a tree of files, entry by entry, so that two trees can be compared: ours with another program's.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { finished, startProcess } from "../../runtime/host/command.ts";

export interface TreeEntry {
  /** From the tree's root, which is ".". */
  readonly path: string;
  readonly type: string;
  readonly mode: string;
  readonly owner: string;
  /** Nanoseconds since 1970. */
  readonly modified: string;
  readonly xattrs: Readonly<Record<string, unknown>>;
  readonly size?: number;
  readonly sha256?: string;
  readonly target?: string;
  /** The first name of the same inode: its own, unless it is a hard link. */
  readonly sameAs?: string;
}

const WALK = join(import.meta.dirname, "tree-walk.py");

/** The tree below `directory`. `uidBase` is subtracted from owners. */
export function walkTree(directory: string, uidBase = 0): Promise<TreeEntry[]> {
  return entriesOf(["python3", WALK, directory, String(uidBase)]);
}

/** What a container sees of its layers, the lowest first: through an overlay of the kernel's, in a mount namespace of its own. */
export async function walkLayers(layers: readonly string[], uidBase: number): Promise<TreeEntry[]> {
  const merged = await mkdtemp(join(tmpdir(), "mayfly-merged-"));
  const lower = layers.length === 1 ? [merged, ...layers] : layers; // overlayfs wants two; the lowest is empty.
  const mount = `mount -t overlay overlay -o lowerdir=${lower.toReversed().join(":")} ${merged}`;
  try {
    return await entriesOf(["unshare", "-m", "sh", "-c", `${mount} && exec python3 ${WALK} ${merged} ${uidBase}`]);
  } finally {
    await rm(merged, { recursive: true });
  }
}

async function entriesOf(argv: readonly [string, ...string[]]): Promise<TreeEntry[]> {
  const child = startProcess([...argv], { stdio: ["ignore", "pipe", "pipe"] });
  const chunks: Buffer[] = [];
  child.stdout?.on("data", (chunk: Buffer) => chunks.push(chunk));
  const { exitCode, stderrTail } = await finished(child);
  if (exitCode !== 0) throw new Error(`walking failed: ${stderrTail}`);
  const lines = Buffer.concat(chunks).toString("utf8").split("\n");
  return lines.filter(Boolean).map((line) => JSON.parse(line));
}

/** Enough to see what is wrong; a tree can differ in thousands of files for one reason. */
const MAX_DIFFERENCES = 20;

/** One line for each entry that only one tree has or that differs, the first twenty: empty if the trees are the same. */
export function differences(ours: readonly TreeEntry[], theirs: readonly TreeEntry[]): string[] {
  const [a, b] = [byPath(ours), byPath(theirs)];
  const paths = [...new Set([...a.keys(), ...b.keys()])].sort();
  const lines = paths.flatMap((path) => (a.get(path) === b.get(path) ? [] : [`- ${b.get(path)}`, `+ ${a.get(path)}`]));
  return lines.slice(0, MAX_DIFFERENCES);
}

function byPath(entries: readonly TreeEntry[]): Map<string, string> {
  return new Map(entries.map((entry) => [entry.path, JSON.stringify(entry)]));
}
