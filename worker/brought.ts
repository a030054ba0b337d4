// The files that a run brings along: those of an upload, read piece by piece as they are written, and those that came with its request.

import { isMayflyError, MayflyError } from "../core/errors.ts";
import type { RunFile } from "../core/files.ts";
import type { RunRecord } from "../core/record.ts";
import { placeOf, type RunUpload, readEntries } from "../core/uploads.ts";
import type { SandboxSpec, StreamedFile } from "../runtime/index.ts";
import { fileOf } from "./spec.ts";

/** Where they lie. */
export interface FileSource {
  files(runId: string): Promise<RunFile[]>;
  /** How many entries and pieces the upload has; undefined if it is not there, or not the tenant's. */
  upload(id: string, tenant: string): Promise<{ readonly entries: number; readonly pieces: number } | undefined>;
  /** Undefined if it has gone. */
  uploadPiece(id: string, index: number): Promise<Buffer | undefined>;
}

export interface Brought {
  readonly spec: Pick<SandboxSpec, "files" | "streamed">;
  /** Throws what opening the sandbox failed with, in the words of the request. */
  readonly explain: (error: unknown) => Promise<never>;
}

/** Throws `upload_not_found`; reading `streamed` does, too. */
export async function openBrought({ id, tenant, request }: RunRecord, source: FileSource): Promise<Brought> {
  const files = request.files && (await source.files(id));
  const inline = files === undefined ? {} : { files: files.map(fileOf) };
  const { upload } = request;
  if (!upload) {
    return {
      spec: inline,
      explain: async (error) => {
        throw error;
      },
    };
  }
  const found = await source.upload(upload.id, tenant);
  if (!found) throw gone(upload);
  const entries = () => readEntries(piecesOf(upload, found.pieces, source), () => gone(upload));
  return {
    spec: { ...inline, streamed: placed(entries(), upload) },
    explain: async (error) => {
      throw await inItsWords(error, { upload, count: found.entries, entries });
    },
  };
}

async function* piecesOf(upload: RunUpload, count: number, source: FileSource): AsyncGenerator<Buffer> {
  for (let index = 0; index < count; index++) {
    const piece = await source.uploadPiece(upload.id, index);
    if (!piece) throw gone(upload);
    yield piece;
  }
}

type Entries = ReturnType<typeof readEntries>;

async function* placed(entries: Entries, upload: RunUpload): AsyncGenerator<StreamedFile> {
  for await (const { path, ...entry } of entries) yield { ...entry, path: placeOf(path, upload) };
}

interface Refused {
  readonly upload: RunUpload;
  readonly count: number;
  readonly entries: () => Entries;
}

/** PID 1 counts all files, those of the upload first. What it says of one of those is said of the file's path, which is looked up now. */
async function inItsWords(error: unknown, { upload, count, entries }: Refused): Promise<unknown> {
  const [, which, why] = (isMayflyError(error) && /^files\.(\d+) (.*)$/s.exec(error.message)) || [];
  if (which === undefined) return error;
  const index = Number(which);
  if (index >= count) {
    const field = `files.${index - count}`;
    return new MayflyError("invalid_field", `${field} ${why}`, { details: { field } });
  }
  const path = (await pathAt(index, entries())) ?? `entry ${index}`;
  return new MayflyError("invalid_field", `upload: ${placeOf(path, upload)} ${why}`, { details: { field: "upload" } });
}

async function pathAt(index: number, entries: Entries): Promise<string | undefined> {
  let at = 0;
  for await (const { path } of entries) if (at++ === index) return path;
  return undefined;
}

function gone({ id }: RunUpload): MayflyError {
  return new MayflyError("upload_not_found", `the upload ${id} is not there any more`, { details: { upload: id } });
}
