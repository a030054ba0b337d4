// A run that is asked for by a URL: the image in the path, the rest in the query, and no JSON at all.
//
//   /v1/run/127.0.0.1:5000/tools/jq:1.7?command=-r&command=.name&memory=64MiB&timeout=10s
//
// One idea: the words of the query are put into a RunRequest, and its schema judges them, so that both ways of asking take the same values.

import { z } from "zod";
import { MayflyError } from "../core/errors.ts";
import { RunRequest } from "../core/request.ts";

type Word =
  | { readonly kind: "text" | "number"; readonly at: readonly string[]; readonly says: string }
  | { readonly kind: "list" | "pairs"; readonly at: readonly string[]; readonly says: string };

/** What may stand in the query, and which field of a RunRequest it is. */
export const RAW_WORDS: Readonly<Record<string, Word>> = {
  command: { kind: "list", at: ["command"], says: "An argument. Repeatable." },
  entrypoint: {
    kind: "list",
    at: ["entrypoint"],
    says: "In place of the image's entrypoint, a word of it. Repeatable.",
  },
  env: {
    kind: "pairs",
    at: ["env"],
    says: "NAME=VALUE. Repeatable. A URL stands in many logs: secretEnv is for secrets.",
  },
  secretEnv: { kind: "pairs", at: ["secretEnv"], says: "NAME=SECRET, the name of a secret. Repeatable." },
  label: { kind: "pairs", at: ["labels"], says: "NAME=VALUE. Repeatable." },
  upload: { kind: "text", at: ["upload", "id"], says: "The id of an upload, whose files are there." },
  uploadPath: { kind: "text", at: ["upload", "path"], says: "Where they are; /work without it." },
  workdir: { kind: "text", at: ["workdir"], says: "Working directory." },
  user: { kind: "text", at: ["user"], says: "name, uid, name:group or uid:gid." },
  pull: { kind: "text", at: ["pull"], says: "missing, always or never." },
  timeout: { kind: "text", at: ["timeouts", "run"], says: "timeouts.run." },
  queue: { kind: "text", at: ["timeouts", "queue"], says: "timeouts.queue." },
  cpus: { kind: "number", at: ["limits", "cpus"], says: "limits.cpus." },
  memory: { kind: "text", at: ["limits", "memory"], says: "limits.memory." },
  pids: { kind: "number", at: ["limits", "pids"], says: "limits.pids." },
  disk: { kind: "text", at: ["limits", "disk"], says: "limits.disk." },
  output: { kind: "text", at: ["limits", "output"], says: "limits.output." },
  artifact: { kind: "list", at: ["artifacts", "paths"], says: "A pattern of artifacts.paths. Repeatable." },
  retries: { kind: "number", at: ["retries"], says: "As in a RunRequest." },
  priority: { kind: "number", at: ["priority"], says: "As in a RunRequest." },
  pool: { kind: "text", at: ["pool"], says: "As in a RunRequest." },
};

/** The words as the OpenAPI document has them. */
export const RawQuery = z.object(
  Object.fromEntries(
    Object.entries(RAW_WORDS).map(([word, { kind, says }]) => {
      const type = kind === "number" ? z.number() : kind === "text" ? z.string() : z.array(z.string());
      return [word, type.optional().meta({ description: says })];
    }),
  ),
);

/** A million words would take the schema seconds. */
const MAX_WORDS = 2048;

/** Throws `invalid_field`, and names the word of the query that is wrong. The request has no stdin yet. */
export function parseRawRun(image: string, query: URLSearchParams): RunRequest {
  if (query.size > MAX_WORDS) throw invalid("query", `has more than ${MAX_WORDS} words`);
  const request: Record<string, unknown> = { image };
  for (const name of new Set(query.keys())) {
    const word = Object.hasOwn(RAW_WORDS, name) ? RAW_WORDS[name] : undefined;
    if (!word) throw invalid(name, "is not a word of this query");
    put(request, word.at, readWord(name, word, query.getAll(name)));
  }
  const parsed = RunRequest.safeParse(request);
  if (parsed.success) return parsed.data;
  const { path = [], message = "is wrong" } = parsed.error.issues[0] ?? {};
  throw invalid(wordAt(path), message);
}

function readWord(name: string, { kind }: Word, values: readonly string[]): unknown {
  if (kind === "list") return values;
  if (kind === "pairs") return Object.fromEntries(values.map((value) => pair(name, value)));
  if (values.length > 1) throw invalid(name, "is given more than once");
  return kind === "number" && values[0] !== "" ? Number(values[0]) : values[0];
}

function pair(name: string, value: string): [string, string] {
  const at = value.indexOf("=");
  if (at < 1) throw invalid(name, "is not NAME=VALUE");
  return [value.slice(0, at), value.slice(at + 1)];
}

function put(request: Record<string, unknown>, [first = "", second]: readonly string[], value: unknown): void {
  if (second === undefined) request[first] = value;
  else request[first] = { ...(request[first] as object | undefined), [second]: value };
}

/** The word that became what stands at a path of the request. */
function wordAt(path: readonly PropertyKey[]): string {
  const found = Object.entries(RAW_WORDS).find(([, { at }]) => at.every((part, i) => path[i] === part));
  return found?.[0] ?? path.join(".");
}

function invalid(field: string, message: string): MayflyError {
  return new MayflyError("invalid_field", `${field} ${message}`, { details: { field } });
}
