// Files that this process has open below a directory, as the kernel has them.

import { readdir, readlink } from "node:fs/promises";

export async function openFiles(directory: string): Promise<number> {
  const links = await Promise.all(
    (await readdir("/proc/self/fd")).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => "")),
  );
  return links.filter((path) => path.startsWith(`${directory}/`)).length;
}
