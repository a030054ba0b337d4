// Uploads: a tar of many files that is sent once and may be named by many runs, as it crosses HTTP and as it lies in Redis.
//
//   header, path, bytes ─ again for each entry      cut into pieces of PIECE_BYTES, each an element of a list
//
// One idea: what lies in Redis is in the order in which a worker wants it, so that both sides hold no more of it than a piece.

import { z } from "zod";
import { ByteReader } from "./byte-reader.ts";
import { CLEAN_PATH, FILE_BOUNDS } from "./files.ts";
import { UPLOAD_ID_PATTERN } from "./ids.ts";

export const UPLOAD_BOUNDS = {
  /** Files and directories of one. */
  entries: 10_000,
  /** Uploads of one tenant at once: each costs Redis a few hundred bytes, even if it has next to nothing in it. */
  ofTenant: 1_000,
  pathBytes: FILE_BOUNDS.pathBytes,
  /** Of a part of a path: no file system of Linux has longer ones (NAME_MAX). */
  nameBytes: 255,
} as const;

/** What holds unless the gateway's settings say otherwise. */
export const UPLOAD_DEFAULTS = { bytes: "64MiB", ofTenant: "256MiB", life: "24h" } as const;

/** One step of Redis, and what gateway and worker hold of an upload. */
export const PIECE_BYTES = 256 * 1024;

const DEFAULT_PATH = "/work";

export const UploadId = z
  .string()
  .regex(UPLOAD_ID_PATTERN, "is not the id of an upload")
  .meta({ description: "Of an upload of the tenant's.", example: "upl_01k3q7v2m8r4t6w9x1z3b5c7d9" });

export const RunUpload = z
  .strictObject({
    id: UploadId,
    path: z
      .string()
      .refine((path) => path === "/" || CLEAN_PATH.test(path), "is not an absolute path without . and .. in it")
      .refine(
        (path) => Buffer.byteLength(path) <= FILE_BOUNDS.pathBytes,
        `has more than ${FILE_BOUNDS.pathBytes} bytes`,
      )
      .meta({ description: "The directory that its files are put in.", example: "/work", default: DEFAULT_PATH })
      .optional(),
  })
  .meta({
    id: "RunUpload",
    description:
      "Files of an upload (POST /v1/uploads), written before `files`, as the program's user's. They count against limits.disk. It is kept until the run has ended. Not with a terminal.",
  });

export type RunUpload = z.infer<typeof RunUpload>;

export const Upload = z
  .strictObject({
    id: UploadId,
    bytes: z.int().meta({ description: "Of its files and their paths, unpacked.", example: 70_512 }),
    files: z.int().meta({ description: "Files and directories.", example: 12 }),
    createdAt: z.iso.datetime(),
    expiresAt: z.iso
      .datetime()
      .meta({ description: "From then on no run may name it; those that have done so keep it." }),
  })
  .meta({ id: "Upload" });

export type Upload = z.infer<typeof Upload>;

export const UploadPage = z
  .strictObject({
    uploads: z.array(Upload),
    next: z.string().optional().meta({ description: "The cursor of the next page, if there may be one." }),
  })
  .meta({ id: "UploadPage" });

export type UploadPage = z.infer<typeof UploadPage>;

/** A file of an upload; or, with a path that ends in a slash, a directory, which has no bytes. */
export interface UploadEntry {
  /** From the directory that it is put in: `src/main.c`. */
  readonly path: string;
  /** Permissions. */
  readonly mode: number;
  readonly bytes: number;
}

/** uint32 of the path's bytes, uint32 mode, uint64 bytes; little-endian. */
const HEADER_BYTES = 16;

/** What stands before an entry's bytes. */
export function formatEntry({ path, mode, bytes }: UploadEntry): Buffer {
  const name = Buffer.from(path);
  const head = Buffer.alloc(HEADER_BYTES);
  head.writeUInt32LE(name.length, 0);
  head.writeUInt32LE(mode, 4);
  head.writeBigUInt64LE(BigInt(bytes), 8);
  return Buffer.concat([head, name]);
}

/** `content` gives `bytes` bytes, and is to be read before the next entry is asked for; what is not read is skipped. */
export async function* readEntries(
  pieces: AsyncIterable<Uint8Array>,
  cutShort: () => Error,
): AsyncGenerator<UploadEntry & { readonly content: AsyncIterable<Uint8Array> }, void> {
  const reader = new ByteReader(pieces, cutShort);
  try {
    while (!(await reader.isOver())) {
      const head = await reader.take(HEADER_BYTES);
      const path = (await reader.take(head.readUInt32LE(0))).toString();
      const bytes = Number(head.readBigUInt64LE(8));
      reader.open(bytes);
      yield { path, mode: head.readUInt32LE(4), bytes, content: reader.content() };
      await reader.skip(0);
    }
  } finally {
    await reader.end();
  }
}

/** Where an upload's path is in a run. */
export function placeOf(path: string, { path: directory = DEFAULT_PATH }: RunUpload): string {
  return directory === "/" ? `/${path}` : `${directory}/${path}`;
}
