// How much of the disk images may take.

import { statfs } from "node:fs/promises";

/** Without a setting, images fill their file system up to here. */
const SHARE = 0.8;
/** And where others have filled it, images have at least this much of what these leave. */
const SHARE_OF_REST = 0.5;

/**
 * In bytes, as of now. Without a setting it is four fifths of the file system, less what others than images have on it; a disk
 * that others have nearly filled still gives half of what they leave.
 */
export async function budgetOf(directory: string, setBytes: number | undefined, imageBytes: number): Promise<number> {
  if (setBytes !== undefined) return setBytes;
  const { bsize, blocks, bfree, bavail } = await statfs(directory);
  const used = (blocks - bfree) * bsize;
  // What root keeps for itself is nobody's to fill.
  const capacity = used + bavail * bsize;
  return shareOf(capacity, Math.max(0, used - imageBytes));
}

export function shareOf(capacity: number, others: number): number {
  return Math.floor(Math.max(SHARE * capacity - others, SHARE_OF_REST * (capacity - others)));
}
