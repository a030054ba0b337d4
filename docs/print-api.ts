// docs/api.md from the OpenAPI document that the gateway serves: each call with what it does, the scope that it wants, a `curl` for it, and
// what it answers.

import { createApp } from "../gateway/app.ts";

interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly example?: unknown;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
}

interface Parameter {
  readonly name: string;
  readonly in: "path" | "query" | "header";
  readonly required?: boolean;
  readonly description?: string;
  readonly schema?: Schema;
}

interface Operation {
  readonly summary?: string;
  readonly security?: readonly { readonly key?: readonly string[] }[];
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content?: Readonly<Record<string, { readonly schema?: Schema }>> };
  readonly responses?: Readonly<Record<string, { readonly description?: string }>>;
}

export interface ApiDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

const RUN_ID = "run_01k9xq2v7n3b8c5d6e7f8g9h0j";
/** For a name in a path that has no example of its own. */
const EXAMPLES: Readonly<Record<string, string>> = { id: RUN_ID, stream: "stdout", name: "acme", image: "busybox" };

/** Whatever is asked of it, it is there: for an app that is never called, only looked at. */
const NOTHING: never = new Proxy(() => {}, { get: () => NOTHING, apply: () => NOTHING }) as never;

/** The document as `GET /openapi.json` answers it. */
export async function openApi(): Promise<ApiDocument> {
  const app = createApp({
    ...{
      dispatcher: NOTHING,
      hosts: NOTHING,
      access: NOTHING,
      batches: NOTHING,
      webhooks: NOTHING,
      duties: NOTHING,
      schedules: NOTHING,
      secrets: NOTHING,
      uploads: NOTHING,
    },
    ...{ findCaller: async () => undefined, maxBodyBytes: 1, maxArchiveBytes: 1, maxStdinBytes: 1, maxUploadBytes: 1 },
    log: { info() {}, warn() {}, error() {} },
  });
  return (await (await app.request("/openapi.json")).json()) as ApiDocument;
}

export function printApi({ paths, components }: ApiDocument): string[] {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).flatMap(([method, operation]) => [
      ...[`## ${method.toUpperCase()} ${path}`, "", `${operation.summary ?? ""}. ${scopeOf(operation)}`, ""],
      ...["```sh", curl(method, path, operation, components.schemas), "```", ""],
      ...parameters(operation),
      ...["| answer | what it is |", "|---|---|"],
      ...Object.entries(operation.responses ?? {}).map(
        ([status, { description }]) => `| ${status} | ${cell(description)} |`,
      ),
      "",
    ]),
  );
}

function scopeOf({ security }: Operation): string {
  const scope = security?.[0]?.key?.[0];
  return scope === undefined ? "Anybody may ask." : `Wants the scope \`${scope}\`.`;
}

function curl(
  method: string,
  path: string,
  { parameters = [], requestBody, security }: Operation,
  schemas: ApiDocument["components"]["schemas"],
): string {
  const example = ({ name, schema }: Parameter) => String(schema?.example ?? EXAMPLES[name] ?? name);
  const filled = parameters
    .filter((parameter) => parameter.in === "path")
    .reduce((url, parameter) => url.replace(`{${parameter.name}}`, encodeURIComponent(example(parameter))), path);
  const query = parameters
    .filter((parameter) => parameter.in === "query" && parameter.required)
    .map((parameter) => `${parameter.name}=${encodeURIComponent(example(parameter))}`);
  const [type, body] = Object.entries(requestBody?.content ?? {})[0] ?? [];
  const words = [
    "curl",
    ...(method === "get" ? [] : [`-X ${method.toUpperCase()}`]),
    ...(security?.[0]?.key?.[0] === undefined ? [] : [`-H "authorization: Bearer $MAYFLY_API_KEY"`]),
    ...(type === undefined ? [] : [`-H 'content-type: ${type}'`]),
    ...(type === "application/json" ? [`-d '${JSON.stringify(exampleOf(body?.schema, schemas))}'`] : []),
    ...(type !== undefined && type !== "application/json" ? ["--data-binary @file"] : []),
    `"$MAYFLY_URL${filled}${query.length > 0 ? `?${query.join("&")}` : ""}"`,
  ];
  return words.join(" ");
}

/** What a schema shows of itself, or the least that it takes. */
function exampleOf(schema: Schema | undefined, schemas: ApiDocument["components"]["schemas"], depth = 0): unknown {
  if (!schema || depth > 4) return {};
  if (schema.$ref) return exampleOf(schemas[schema.$ref.split("/").at(-1) ?? ""], schemas, depth + 1);
  if (schema.example !== undefined) return schema.example;
  const choice = (schema.anyOf ?? schema.oneOf)?.[0];
  if (choice) return exampleOf(choice, schemas, depth + 1);
  if (schema.properties) {
    const shown = Object.entries(schema.properties).filter(
      ([name]) => schema.required?.includes(name) || name === "command",
    );
    return Object.fromEntries(shown.map(([name, of]) => [name, exampleOf(of, schemas, depth + 1)]));
  }
  if (schema.items) return [exampleOf(schema.items, schemas, depth + 1)];
  return (
    schema.default ??
    schema.enum?.[0] ??
    { string: "text", integer: 1, number: 1, boolean: true }[String(schema.type)] ??
    {}
  );
}

function parameters({ parameters = [] }: Operation): string[] {
  const rows = parameters
    .filter((parameter) => parameter.in !== "path")
    .map(
      ({ name, in: place, description, schema }) =>
        `| \`${name}\` | ${place} | ${cell(description ?? schema?.description)} |`,
    );
  return rows.length === 0 ? [] : ["| parameter | in | what it is |", "|---|---|---|", ...rows, ""];
}

const cell = (text = "") => text.replaceAll("|", "\\|").replaceAll("\n", " ");
