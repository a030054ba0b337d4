// From what was asked for and what the image says, to what the runtime is told.

import { MayflyError } from "../core/errors.ts";
import { contentOf, modeOf, type RunFile } from "../core/files.ts";
import type { RunPlan } from "../core/plan.ts";
import type { RunRecord } from "../core/record.ts";
import type { Image, SandboxFile, SandboxSpec } from "../runtime/index.ts";

/** As Docker does it: an entrypoint of the request's drops the image's command as well. */
export function commandLine(request: RunRecord["request"], image: Image["config"]): string[] {
  const entrypoint = request.entrypoint ?? image.entrypoint;
  const command = request.command ?? (request.entrypoint ? [] : image.command);
  const argv = [...entrypoint, ...command];
  if (argv.length === 0) {
    throw new MayflyError("invalid_field", "command: neither the request nor the image names a program", {
      details: { field: "command" },
    });
  }
  return argv;
}

/** What programs at a terminal want to know, as Docker tells it, for images and requests that do not say. */
const TERMINAL_TYPE = ["TERM", "xterm"] as const;

/**
 * The image's variables with the request's over them; of two with one name the later holds. Where the run belongs to a trace its program is
 * told of it, so that it may continue it (W3C Trace Context), unless image or request say otherwise.
 */
export function environment(
  request: RunRecord["request"],
  image: Image["config"],
  { secrets, traceparent }: { secrets?: SpecOf["secrets"] | undefined; traceparent?: string | undefined } = {},
): string[] {
  const named = image.env.map(
    (entry) => [entry.slice(0, entry.indexOf("=")), entry.slice(entry.indexOf("=") + 1)] as const,
  );
  const assumed = [
    ...(request.terminal ? [TERMINAL_TYPE] : []),
    ...(traceparent === undefined ? [] : [["TRACEPARENT", traceparent] as const]),
  ];
  const merged = new Map<string, string>([...assumed, ...named, ...Object.entries({ ...request.env, ...secrets })]);
  return [...merged].map(([name, value]) => `${name}=${value}`);
}

/** The latest that the record has; a run that was made without a terminal never has one. */
function latestSize({ request, terminalSize }: RunRecord): SandboxSpec["terminal"] {
  return request.terminal && (terminalSize ?? request.terminal);
}

export interface SpecOf {
  readonly record: RunRecord;
  readonly plan: RunPlan;
  readonly image: Image;
  readonly deadlineMs: number;
  /** Values of variables, in the clear: for the program's eyes alone. */
  readonly secrets?: Readonly<Record<string, string>>;
  readonly brought?: Pick<SandboxSpec, "files" | "streamed">;
}

export const fileOf = (file: RunFile): SandboxFile => ({
  path: file.path,
  mode: modeOf(file),
  content: contentOf(file),
});

export function sandboxSpec({ record, plan, image, deadlineMs, secrets, brought = {} }: SpecOf): SandboxSpec {
  const { request } = record;
  const id = `${record.id}-${record.attempt}`;
  return {
    id,
    image,
    argv: commandLine(request, image.config),
    env: environment(request, image.config, { secrets, traceparent: record.traceparent }),
    workdir: request.workdir ?? image.config.workdir,
    user: request.user ?? image.config.user,
    // The end of the id is its random part; a host name is at most 63 characters.
    hostname: record.id.slice(-12),
    limits: plan.limits,
    terminal: latestSize(record),
    artifacts: plan.artifacts,
    ...brought,
    deadlineMs,
  };
}
