// What `mayfly run` brings along: files by --file, within the request; a directory by --upload, ahead of it; an upload of before by --upload-id.

import { open } from "node:fs/promises";
import { FILE_BOUNDS, type RunFile } from "../core/files.ts";
import { newUploadId } from "../core/ids.ts";
import { formatSize } from "../core/units.ts";
import type { Client, RunRequest } from "./client.ts";
import { type Io, note } from "./io.ts";
import { packDirectory } from "./pack.ts";
import type { RunFlags } from "./run-request.ts";
import { UsageError } from "./usage-error.ts";

export interface Brought {
  readonly fields: Pick<RunRequest, "files" | "upload">;
  /** To be sent first; until then the upload's id in `fields` stands for that which it will have. */
  readonly directory: string | undefined;
}

type FileFlags = Pick<RunFlags, "file" | "upload" | "upload-id">;

/** Reads files, and nothing of the directory. Throws UsageError that names the flag. */
export async function readBrought(flags: FileFlags): Promise<Brought> {
  const { upload: directory, "upload-id": id } = flags;
  if (directory !== undefined && id !== undefined)
    throw new UsageError("--upload and --upload-id exclude each other: a run has one upload");
  const files = await readFiles(flags.file);
  const given = directory ?? id;
  if (given === undefined) return { fields: files, directory: undefined };
  const [, name = "", path] = /^(.*?)(?::(\/.*))?$/s.exec(given) ?? [];
  const upload = { id: id === undefined ? newUploadId() : name, ...(path === undefined ? {} : { path }) };
  return { fields: { ...files, upload }, directory: directory === undefined ? undefined : name };
}

/** Sends the directory, hands on the request that names it, and removes it in the end: a run that goes on keeps it. */
export async function withUpload(
  request: RunRequest,
  directory: string | undefined,
  { client, io }: { client: Client; io: Io },
  use: (request: RunRequest) => Promise<number>,
): Promise<number> {
  if (directory === undefined) return use(request);
  const id = await sendDirectory(directory, { client, io });
  try {
    return await use({ ...request, upload: { ...request.upload, id } });
  } finally {
    await client.uploads.remove(id).catch(() => note(io, `the upload ${id} could not be removed: it goes by itself`));
  }
}

/** Resolves to its id. */
export async function sendDirectory(
  directory: string,
  { client, io }: { client: Pick<Client, "uploads">; io: Pick<Io, "stderr"> },
): Promise<string> {
  const { tar, leftOut } = await packDirectory(directory);
  if (leftOut.length > 0) await note(io, `left out, being neither files nor directories: ${leftOutText(leftOut)}`);
  return (await client.uploads.create(tar)).id;
}

const SHOWN = 3;

function leftOutText(names: readonly string[]): string {
  const more = names.length - SHOWN;
  return `${names.slice(0, SHOWN).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

async function readFiles(flags: readonly string[]): Promise<{ files?: RunFile[] }> {
  if (flags.length === 0) return {};
  const files: RunFile[] = [];
  let bytes = 0;
  for (const flag of flags) {
    const [, local = "", path, mode] = /^(.+?):(\/.*?)(?::(0?[0-7]{3}))?$/s.exec(flag) ?? [];
    if (path === undefined)
      throw new UsageError(`--file ${JSON.stringify(flag)} is not LOCAL:/PATH or LOCAL:/PATH:MODE`);
    const read = await readLocal(local, FILE_BOUNDS.totalBytes - bytes);
    bytes += read.content.length;
    files.push({ path, base64: read.content.toString("base64"), mode: mode ?? read.mode });
  }
  return { files };
}

/** No more of it is read than may be sent. */
async function readLocal(path: string, most: number): Promise<{ content: Buffer; mode: string }> {
  const problem = (why: string) => new UsageError(`--file ${path}: ${why}`);
  const file = await open(path).catch((error) => {
    throw problem(error.message);
  });
  try {
    const facts = await file.stat();
    if (!facts.isFile()) throw problem("is not a file; --upload sends directories");
    if (facts.size > most)
      throw problem(`files have more than ${formatSize(FILE_BOUNDS.totalBytes)} together; --upload sends more`);
    return { content: await file.readFile(), mode: (facts.mode & 0o777).toString(8).padStart(4, "0") };
  } finally {
    await file.close();
  }
}
