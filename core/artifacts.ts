// Files that a run leaves: which are asked for, what is kept of them, and what is told of each.
//
// They are kept as one tar, as it is answered, and an index beside it says where in it each file's bytes are.

import { z } from "zod";
import { size } from "./limits.ts";
import { parseSize } from "./units.ts";

const MIB = 2 ** 20;

export const ARTIFACT_BOUNDS = {
  /** As init/artifacts.h has it, and so has the number of names in one. */
  patterns: 32,
  patternNames: 63,
  patternBytes: 1023,
  /** Of a run. Each is a line of an index that is read whole. */
  files: 1_000,
  /** Of a file's path; what is longer is left out. */
  pathBytes: 1023,
  /** Of all files of a run: they are kept in Redis as long as the run is. */
  total: { min: 1024, max: 16 * MIB },
  /** How long collecting may take after a program's end; PID 1 begins no more files after two thirds of it. */
  collectMs: 30_000,
} as const;

export const DEFAULT_ARTIFACT_TOTAL = "4MiB";

/** No "..", no ".", nothing empty, no NUL. */
const PATTERN = /^(\/(?!\.{1,2}(\/|$))[^/\0]+)+$/;

const Pattern = z
  .string()
  .refine((path) => PATTERN.test(path), "is not an absolute path, or a pattern of one, without . and .. in it")
  .refine(
    (path) => Buffer.byteLength(path) <= ARTIFACT_BOUNDS.patternBytes,
    `has more than ${ARTIFACT_BOUNDS.patternBytes} bytes`,
  )
  .refine(
    (path) => path.split("/").length - 1 <= ARTIFACT_BOUNDS.patternNames,
    `has more than ${ARTIFACT_BOUNDS.patternNames} names`,
  );

export const RunArtifacts = z
  .strictObject({
    paths: z
      .array(Pattern)
      .min(1)
      .max(ARTIFACT_BOUNDS.patterns)
      .meta({
        description: `Paths, at most ${ARTIFACT_BOUNDS.patterns}: \`*\`, \`?\` and \`[…]\` stand for what is within a name, \`**\` for any number of directories. Of a directory all is kept that is in it.`,
        example: ["/out/**", "/work/report-*.json"],
      }),
    max: size(
      ARTIFACT_BOUNDS.total,
      "Bytes kept of all files together. A file that does not fit is left out whole, and counted.",
      DEFAULT_ARTIFACT_TOTAL,
    ).optional(),
  })
  .meta({
    id: "Artifacts",
    description: `Files to be kept when the program has ended, however it has: regular files of the container's own file system, at most ${ARTIFACT_BOUNDS.files}; no symlink is followed. Read them at /v1/runs/{id}/artifacts.`,
  });

export type RunArtifacts = z.infer<typeof RunArtifacts>;

/** What a sandbox is asked for. */
export const planArtifacts = ({ paths, max = DEFAULT_ARTIFACT_TOTAL }: RunArtifacts) => ({
  patterns: paths,
  maxFiles: ARTIFACT_BOUNDS.files,
  maxBytes: parseSize(max) ?? 0,
});

/** What a run's record says of its artifacts. */
export const ArtifactFacts = z
  .strictObject({
    files: z.int(),
    bytes: z.int(),
    truncated: z
      .strictObject({
        files: z.int(),
        bytes: z.int(),
        more: z
          .literal(true)
          .optional()
          .meta({ description: "There may be more: not all could be looked at in time." }),
      })
      .optional()
      .meta({ description: "What was left out of what was asked for." }),
  })
  .meta({ id: "ArtifactFacts", description: "Of a run that asked for artifacts and whose program was started." });

export type ArtifactFacts = z.infer<typeof ArtifactFacts>;

export const Artifact = z
  .strictObject({
    path: z.string().meta({ example: "/out/report.json" }),
    bytes: z.int(),
    mode: z.string().meta({ description: "Permissions.", example: "0644" }),
    modified: z.string().meta({ example: "2026-01-31T08:00:00.000Z" }),
    sha256: z.string().meta({ description: "Of its bytes, in hex." }),
  })
  .meta({ id: "Artifact" });

export type Artifact = z.infer<typeof Artifact>;

export const ArtifactList = ArtifactFacts.extend({ artifacts: z.array(Artifact) }).meta({
  id: "ArtifactList",
  description: "In the order of their paths.",
});

export type ArtifactList = z.infer<typeof ArtifactList>;

/** A line of the index: where in the tar its bytes are, and what is told of it. */
export interface StoredArtifact {
  readonly offset: number;
  readonly bytes: number;
  readonly mode: number;
  readonly modifiedMs: number;
  readonly sha256: string;
}

export const formatStored = ({ offset, bytes, mode, modifiedMs, sha256 }: StoredArtifact): string =>
  JSON.stringify([offset, bytes, mode, modifiedMs, sha256]);

export function parseStored(text: string): StoredArtifact {
  const [offset, bytes, mode, modifiedMs, sha256] = JSON.parse(text);
  return { offset, bytes, mode, modifiedMs, sha256 };
}

/** A name in a tar of artifacts that leads nowhere but down: no leading slash, no "..", no ".", nothing empty, and text. */
export function isArtifactName(name: string): boolean {
  if (Buffer.byteLength(name) > ARTIFACT_BOUNDS.pathBytes || /[\0\ufffd]/.test(name)) return false;
  return name.split("/").every((part) => part !== "" && part !== "." && part !== "..");
}
