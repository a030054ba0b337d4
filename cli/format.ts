// `--format TEMPLATE`, as docker's users write them: text, and in it `{{.id}}`, `{{.outcome.kind}}`, `{{json .receipt}}`, `{{json .}}`.
//
// One idea: a template is checked against the schema of what it will show before anything is asked, so that a mistyped field is an
// error, and one that a run does not have (yet) is an empty word. `\t` and `\n` are what they are in docker.

import type { z } from "zod";
import { fieldsOf, followField } from "./fields.ts";
import { nearest } from "./nearest.ts";
import { printable } from "./table.ts";
import { UsageError } from "./usage-error.ts";

export type Template = (value: unknown) => string;

type Part = string | { readonly asJson: boolean; readonly path: readonly string[] };

/** Throws UsageError that names the field that there is not, or what cannot be read. */
export function parseTemplate(text: string, schema: z.ZodType): Template {
  const parts = partsOf(text);
  for (const part of parts) if (typeof part !== "string") checkPath(part.path, schema);
  return (value) => parts.map((part) => (typeof part === "string" ? part : render(part, value))).join("");
}

function partsOf(text: string): Part[] {
  return text.split(/(\{\{.*?\}\})/s).map((piece) => {
    if (piece.startsWith("{{") && piece.endsWith("}}")) return actionOf(piece);
    if (piece.includes("{{") || piece.includes("}}"))
      throw new UsageError(`--format: ${JSON.stringify(piece)} has one of {{ and }} without the other`);
    return piece.replaceAll("\\t", "\t").replaceAll("\\n", "\n");
  });
}

function actionOf(written: string): Part {
  const match = /^\{\{\s*(json\s+)?\.((?:[A-Za-z_]\w*(?:\.\w+)*)?)\s*\}\}$/.exec(written);
  if (!match)
    throw new UsageError(`--format: ${written} is none of {{.}}, {{.field}}, {{.field.field}}, {{json .field}}`);
  return { asJson: match[1] !== undefined, path: match[2] ? match[2].split(".") : [] };
}

function checkPath(path: readonly string[], schema: z.ZodType): void {
  let at: readonly z.ZodType[] = [schema];
  for (const [index, name] of path.entries()) {
    const next = followField(at, name);
    if (next.length > 0) {
      at = next;
      continue;
    }
    const names = fieldsOf(at);
    const near = nearest(name, names);
    const others =
      names.length === 0 ? `.${path.slice(0, index).join(".")} has no fields` : `there are ${names.join(", ")}`;
    const advice = near === undefined ? others : `did you mean ${near}?`;
    throw new UsageError(`--format: there is no field .${path.slice(0, index + 1).join(".")}; ${advice}`);
  }
}

function render({ asJson, path }: Exclude<Part, string>, value: unknown): string {
  let at = value;
  for (const name of path) at = typeof at === "object" && at !== null ? Reflect.get(at, name) : undefined;
  if (asJson) return JSON.stringify(at ?? null);
  if (at === undefined || at === null) return "";
  return printable(typeof at === "object" ? JSON.stringify(at) : String(at));
}
