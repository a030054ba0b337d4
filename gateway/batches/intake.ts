// A batch's input on its way into Redis: line by line as it comes, some in each step, acknowledged when they are safe. While Redis is at
// a step nothing more is read, so that no more of a body is here than one piece of it.

import { BATCH_BOUNDS, type Batch, type BatchAck, BatchOptions } from "../../core/batch.ts";
import { MayflyError } from "../../core/errors.ts";
import { failureLimit } from "../dispatch/batch-record.ts";
import type { BatchStore, Chunk, Entry } from "../dispatch/batch-store.ts";
import { checkRequest, type ItemRules, invalid } from "./item-request.ts";
import { ItemReader } from "./items.ts";
import type { Line } from "./lines.ts";
import { Template } from "./template.ts";
import { BatchUploads, makeWithUpload } from "./uploads.ts";

/** Of a step: Redis does nothing else meanwhile. */
const STEP_ITEMS = 500;
const STEP_BYTES = 512 * 1024;

export interface IntakeOptions {
  readonly store: BatchStore;
  readonly rules: ItemRules;
}

export interface Target {
  readonly id: string;
  readonly tenant: string;
  /** The input's lines begin after this one. */
  readonly after: number;
  readonly close: boolean;
}

/** So many lines of the input told of the batch itself, and are no items. Throws `too_many_batches`, `invalid_field`, `upload_not_found`. */
export async function openBatch(
  { store, rules }: IntakeOptions,
  { tenant, options, headLines }: { tenant: string; options: BatchOptions; headLines: number },
  idempotencyKey: string | undefined,
): Promise<string> {
  const fields = ["lines", String(headLines), ...fieldsOf(options, rules)];
  const upload = options.template?.upload?.id;
  return makeWithUpload(
    store.uploads,
    { tenant, upload },
    {
      make: () => store.create(tenant, fields, idempotencyKey),
      isMade: () => store.remembers(tenant, idempotencyKey),
    },
  );
}

/** What Redis keeps of a batch's options. */
function fieldsOf(options: BatchOptions, rules: ItemRules): (string | Buffer)[] {
  const { name, labels, onFailure, concurrency, webhook, template, stdin } = options;
  rules.destinations.admit(webhook);
  const fields: Record<string, string | Buffer | undefined> = {
    name,
    labels: labels && JSON.stringify(labels),
    maxFailures: failureLimit(onFailure),
    concurrency: concurrency === undefined ? undefined : String(concurrency),
    webhook: webhook && new URL(webhook.url).host,
    webhookUrl: webhook?.url,
    ...(template ? templateFields(template, stdin === true, rules) : {}),
  };
  return Object.entries(fields).flatMap(([field, value]) => (value === undefined ? [] : [field, value]));
}

function templateFields(template: NonNullable<BatchOptions["template"]>, toStdin: boolean, rules: ItemRules) {
  if (toStdin && template.stdin !== undefined)
    throw new MayflyError("invalid_field", "template.stdin and stdin exclude each other: the inputs are what is read");
  const { request, stdin, files } = checkRequest(template, rules);
  requireSmall(stdin.length + Buffer.byteLength(files));
  const source = toStdin ? { ...request, stdin: "" } : request;
  return {
    source: JSON.stringify(source),
    template: JSON.stringify(new Template(source, toStdin).pieces),
    stdin: toStdin ? "1" : undefined,
    templateFiles: files === "" ? undefined : files,
    templateStdin: stdin.length === 0 ? undefined : stdin,
  };
}

/** Throws `invalid_field`: what each of a hundred thousand runs gets a copy of is small. */
function requireSmall(bytes: number): void {
  const limit = BATCH_BOUNDS.templateInputBytes;
  if (bytes <= limit) return;
  const message = `template.files and template.stdin have ${bytes} bytes together: at most ${limit}, as each run has a copy. An upload is for more`;
  throw new MayflyError("invalid_field", message, { details: { field: "template.files", limit } });
}

/** `{"batch": …}`, or undefined for another line. Throws `invalid_field`. */
export function parseHeader({ bytes }: Line): BatchOptions | undefined {
  if (!bytes?.subarray(0, HEADER_WITHIN).includes(HEADER_NAME)) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString("utf8"));
  } catch {
    return undefined; // A line that cannot be read, as any other.
  }
  if (typeof value !== "object" || value === null || Object.keys(value).join() !== "batch") return undefined;
  const parsed = BatchOptions.safeParse(Reflect.get(value, "batch"));
  if (!parsed.success) throw invalid(parsed.error);
  return parsed.data;
}

const HEADER_NAME = '"batch"';
const HEADER_WITHIN = 64;

/** Everything of the body, with an acknowledgement after each step. The last one is the batch as it is then. */
export async function* takeIn(
  options: IntakeOptions,
  target: Target,
  groups: AsyncIterable<readonly Line[]>,
): AsyncGenerator<BatchAck, void> {
  const { store, rules } = options;
  const { template, stdin } = await store.get(target.id, target.tenant);
  const reader = new ItemReader(rules, template && new Template(template, stdin));
  const uploads = new BatchUploads(store.uploads, target);
  let from = target.after;
  for await (const group of groups) {
    for (const step of stepsOf(group)) {
      const to = (step.at(-1) as Line).number;
      const entries = await uploads.checked(step.flatMap((line) => reader.read(line) ?? []));
      const chunk: Chunk = { from, to, entries, shapes: reader.takeShapes(), close: false };
      for (const malformed of entries.filter(({ kind }) => kind === "malformed")) yield tellMalformed(malformed);
      yield { ...(await store.accept(target.id, chunk)) };
      from = to;
    }
  }
  if (target.close) await store.accept(target.id, { from, to: from, entries: [], shapes: new Map(), close: true });
  yield { end: await latest(store, target) };
}

async function latest(store: BatchStore, { id, tenant }: Target): Promise<Batch> {
  return (await store.get(id, tenant)).batch;
}

function tellMalformed({ line, text }: Entry): BatchAck {
  const outcome = JSON.parse(String(text).slice(String(text).indexOf("\n") + 1)) as { message: string };
  return { malformed: line, message: outcome.message };
}

function* stepsOf(lines: readonly Line[]): Generator<readonly Line[]> {
  let step: Line[] = [];
  let bytes = 0;
  for (const line of lines) {
    step.push(line);
    bytes += line.bytes?.length ?? 0;
    if (step.length < STEP_ITEMS && bytes < STEP_BYTES) continue;
    yield step;
    step = [];
    bytes = 0;
  }
  if (step.length > 0) yield step;
}

/** The first line, if there is one, and everything from it on. */
export async function peek(
  groups: AsyncGenerator<Line[], void>,
): Promise<{ first: Line | undefined; all: AsyncIterable<readonly Line[]> }> {
  const { value } = await groups.next();
  return { first: value?.[0], all: joined(value ?? [], groups) };
}

async function* joined(group: readonly Line[], rest: AsyncGenerator<Line[], void>): AsyncGenerator<readonly Line[]> {
  try {
    if (group.length > 0) yield group;
    yield* rest;
  } finally {
    await rest.return();
  }
}
