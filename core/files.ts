// Files that a run brings along, as they cross HTTP, and as bytes.

import { z } from "zod";

const KIB = 1024;

export const FILE_BOUNDS = {
  count: 256,
  pathBytes: 1024,
  /** Of all of them, in the clear: they are held in memory on their way, and in Redis until the run is over. */
  totalBytes: 4 * 1024 * KIB,
} as const;

/** No "..", no ".", nothing empty: what is asked for is what is written. */
export const CLEAN_PATH = /^(\/(?!\.{1,2}(\/|$))[^/\0]+)+$/;

const RunFile = z
  .strictObject({
    path: z
      .string()
      .refine((path) => CLEAN_PATH.test(path), "is not an absolute path without . and .. in it")
      .refine(
        (path) => Buffer.byteLength(path) <= FILE_BOUNDS.pathBytes,
        `has more than ${FILE_BOUNDS.pathBytes} bytes`,
      )
      .meta({ description: "Where it is to be; directories that are missing are made.", example: "/work/input.json" }),
    content: z.string().optional().meta({ description: "Text, written as UTF-8." }),
    base64: z.base64().optional().meta({ description: "Bytes in base 64; in place of content." }),
    mode: z
      .string()
      .regex(/^0?[0-7]{3}$/, "is not permissions such as 0644")
      .meta({ description: "Permissions.", example: "0755", default: "0644" })
      .optional(),
  })
  .refine(
    ({ content, base64 }) => (content === undefined) !== (base64 === undefined),
    "wants either content or base64",
  );

export type RunFile = z.infer<typeof RunFile>;

export const RunFiles = z
  .array(RunFile)
  .max(FILE_BOUNDS.count)
  .superRefine((files, context) => {
    const seen = new Set<string>();
    for (const [i, { path }] of files.entries()) {
      if (seen.has(path)) context.addIssue({ code: "custom", path: [i, "path"], message: "is there twice" });
      seen.add(path);
    }
    const bytes = files.reduce((sum, file) => sum + sizeOf(file), 0);
    if (bytes > FILE_BOUNDS.totalBytes)
      context.addIssue({ code: "custom", message: `have ${bytes} bytes, more than ${FILE_BOUNDS.totalBytes}` });
  })
  .meta({
    description: `Written before the program starts, as its user's, in place of what the image has there: at most ${FILE_BOUNDS.count}, of 4 MiB together. They count against limits.disk. Not with a terminal.`,
  });

/** Of a file's content. */
function sizeOf({ content, base64 = "" }: RunFile): number {
  return content === undefined ? Buffer.byteLength(base64, "base64") : Buffer.byteLength(content);
}

export function contentOf({ content, base64 = "" }: RunFile): Buffer {
  return content === undefined ? Buffer.from(base64, "base64") : Buffer.from(content);
}

export const modeOf = ({ mode = "0644" }: RunFile): number => Number.parseInt(mode, 8);
