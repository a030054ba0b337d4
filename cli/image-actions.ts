// What `mayfly image` can do, by name.

import type { HistoryEntry, HostFailure, ImageInspection, Verified } from "../core/images.ts";
import type { Client } from "./client.ts";
import { eachRun } from "./each-run.ts";
import { EXIT } from "./exit-codes.ts";
import { tellFailures, tellNobody, withoutAbsent } from "./host-failures.ts";
import { humanSize } from "./human-size.ts";
import { parted } from "./image-client.ts";
import { type Io, jsonText, printJson } from "./io.ts";
import { alignColumns, formatAge, printable } from "./table.ts";

interface Surroundings {
  readonly io: Io;
  readonly json: boolean;
  readonly client: Client;
  readonly flags: {
    readonly host: string | undefined;
    readonly "unused-for": string | undefined;
    readonly repair: boolean;
  };
}

export interface ImageAction {
  /** How many references it takes. */
  readonly min: number;
  readonly max: number;
  /** Resolves to the exit code. */
  readonly execute: (references: readonly string[], within: Surroundings) => Promise<number>;
}

const MANY = { min: 1, max: Number.POSITIVE_INFINITY } as const;
const NONE = { min: 0, max: 0 } as const;

export const IMAGE_ACTIONS: Readonly<Record<string, ImageAction>> = {
  inspect: {
    ...MANY,
    execute: (references, within) =>
      eachImage(references, within, async (image, host) => {
        const value = { host, ...image };
        await (within.json ? printJson(within.io, value) : within.io.stdout.write(`${jsonText(value, 2)}\n`));
      }),
  },
  history: {
    ...MANY,
    execute: (references, within) =>
      eachImage(references, within, async ({ history }) => {
        const { io, json } = within;
        const newestFirst = history.toReversed();
        if (json) for (const entry of newestFirst) await printJson(io, entry);
        else await io.stdout.write(`${historyTable(newestFirst, Date.now()).join("\n")}\n`);
      }),
  },
  pin: { ...MANY, execute: (references, within) => pin(references, true, within) },
  unpin: { ...MANY, execute: (references, within) => pin(references, false, within) },
  prune: { ...NONE, execute: (_, within) => prune(within) },
  verify: { min: 0, max: Number.POSITIVE_INFINITY, execute: verify },
  usage: { ...NONE, execute: (_, within) => usage(within) },
};

/** Of each reference the first host that has it: an image is the same wherever it is. */
async function eachImage(
  references: readonly string[],
  { client, flags: { host }, io, json }: Surroundings,
  show: (image: ImageInspection, host: string) => Promise<void>,
): Promise<number> {
  let exitCode: number = EXIT.ok;
  const told = await eachRun(references, { io, json, helpOf: "mayfly image" }, async (reference) => {
    const { done, failed } = parted((await client.images.inspect(reference, { host })).hosts);
    const [first] = done;
    if (first) await show(first.image, first.host);
    if (!first) exitCode = EXIT.failed;
    await tellNobody(done.length + failed.length, `that could have ${reference}`, io);
    await tellFailures(withoutAbsent(failed, first !== undefined), { io, json });
  });
  return Math.max(exitCode, told);
}

async function pin(references: readonly string[], pinned: boolean, within: Surroundings): Promise<number> {
  const { client, flags, io, json } = within;
  let exitCode: number = EXIT.ok;
  const told = await eachRun(references, { io, json, helpOf: "mayfly image" }, async (reference) => {
    const { done, failed } = parted((await client.images.pin(reference, pinned, { host: flags.host })).hosts);
    for (const { host } of done)
      await (json ? printJson(io, { host, reference, pinned }) : io.stdout.write(`${host}: ${reference}\n`));
    const nobody = await tellNobody(done.length + failed.length, `that could have ${reference}`, io);
    exitCode = Math.max(exitCode, nobody, await tellFailures(withoutAbsent(failed, done.length > 0), { io, json }));
  });
  return Math.max(exitCode, told);
}

async function prune({ client, flags, io, json }: Surroundings): Promise<number> {
  const unusedFor = flags["unused-for"];
  const options = { host: flags.host, ...(unusedFor === undefined ? {} : { unusedFor }) };
  const { done, failed } = parted((await client.images.prune(options)).hosts);
  for (const { host, reclaimed } of done) {
    if (json) await printJson(io, { host, ...reclaimed });
    else {
      for (const reference of reclaimed.references) await io.stdout.write(`${host}: ${reference}\n`);
      await io.stdout.write(`${host}: ${reclaimed.layers} layers, ${humanSize(reclaimed.bytes)} freed\n`);
    }
  }
  return tellFailures(failed, { io, json });
}

async function verify(references: readonly string[], within: Surroundings): Promise<number> {
  let exitCode: number = EXIT.ok;
  for (const reference of references.length === 0 ? [undefined] : references)
    exitCode = Math.max(exitCode, await verifyOne(reference, within));
  return exitCode;
}

/** Of one image, or of all without a reference. A fault that is not repaired makes it fail. */
async function verifyOne(reference: string | undefined, { client, flags, io, json }: Surroundings): Promise<number> {
  const failed: HostFailure[] = [];
  let verifications = 0;
  let faults = 0;
  for await (const event of client.images.verify({ host: flags.host, reference, repair: flags.repair })) {
    if ("hosts" in event) continue;
    if ("error" in event) {
      failed.push(event);
      continue;
    }
    verifications++;
    faults += event.verified.faults.filter(({ repaired }) => !repaired).length;
    if (json) await printJson(io, { host: event.host, ...event.verified });
    else await io.stdout.write(`${verifiedLines(event.host, event.verified).join("\n")}\n`);
  }
  const isForOne = reference !== undefined && verifications > 0;
  const exitCode = await tellFailures(withoutAbsent(failed, isForOne), { io, json });
  if (faults > 0) return EXIT.failed;
  if (reference === undefined) return exitCode; // Of all images there are none, and all are well.
  return Math.max(exitCode, await tellNobody(verifications + failed.length, `that could have ${reference}`, io));
}

function verifiedLines(host: string, { layers, blobs, faults }: Verified): string[] {
  const found = faults.map(({ digest, what, repaired }) => `${host}: ${digest} ${what}${repaired ? ", repaired" : ""}`);
  return [`${host}: ${layers} layers and ${blobs} blobs read`, ...found].map(printable);
}

async function usage({ client, flags, io, json }: Surroundings): Promise<number> {
  const { done, failed } = parted((await client.images.usage({ host: flags.host })).hosts);
  if (json) for (const { host, usage } of done) await printJson(io, { host, ...usage });
  else {
    const rows = done.map(({ host, usage }) => [
      ...[host, String(usage.images), String(usage.layers), humanSize(usage.total), humanSize(usage.shared)],
      ...[humanSize(usage.reclaimable), humanSize(usage.budget)],
    ]);
    const head = ["HOST", "IMAGES", "LAYERS", "ON DISK", "SHARED", "RECLAIMABLE", "BUDGET"];
    await io.stdout.write(`${alignColumns([head, ...rows]).join("\n")}\n`);
  }
  return tellFailures(failed, { io, json });
}

/** What Docker's builder says of a step is long; its beginning tells which it is. */
const MAX_STEP = 60;

export function historyTable(entries: readonly HistoryEntry[], nowMs: number): string[] {
  const rows = entries.map(({ createdAt, createdBy, layer, comment }) => [
    createdAt === undefined ? "-" : formatAge(nowMs - Date.parse(createdAt)),
    layer ? humanSize(layer.unpacked) : "-",
    createdBy.length > MAX_STEP ? `${createdBy.slice(0, MAX_STEP - 3)}...` : createdBy,
    comment ?? "",
  ]);
  return alignColumns([["AGE", "ON DISK", "STEP", "COMMENT"], ...rows]);
}
