// /openapi.json, and /docs: the same document as a page that a person can read. No script, nothing fetched from elsewhere.

import type { OpenAPIHono } from "@hono/zod-openapi";
import { html, raw } from "hono/html";
import { REASONS } from "../../core/errors.ts";
import type { GatewayEnv } from "../context.ts";

/** The parts of an OpenAPI 3.1 document that the page shows. */
interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxItems?: number;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly items?: Schema;
}

interface Operation {
  readonly summary?: string;
  readonly responses?: Readonly<Record<string, { readonly description?: string }>>;
  readonly requestBody?: { readonly content?: Readonly<Record<string, { readonly schema?: Schema }>> };
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly schema?: Schema;
    readonly description?: string;
  }[];
}

interface Document {
  readonly info: { readonly title: string; readonly version: string; readonly description?: string };
  readonly paths?: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components?: { readonly schemas?: Readonly<Record<string, Schema>> };
}

const STYLE = `
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
  code { font: 14px ui-monospace, monospace; background: #f3f3f0; padding: 0 .2em }
  h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd } h3 code { background: none; font-size: 16px }
  table { border-collapse: collapse; width: 100% } td, th { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #eee }
  @media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } code { background: #2a2a2a } td, th, h2 { border-color: #333 } a { color: #8bf } }`;

export function registerDocs(app: OpenAPIHono<GatewayEnv>, document: () => object): void {
  // Both are made once, when first asked for: the routes do not change.
  let json: object | undefined;
  app.get("/openapi.json", (c) => {
    json ??= document();
    return c.json(json);
  });
  app.get("/docs", (c) => {
    json ??= document();
    c.header("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'");
    return c.html(page(json as Document));
  });
}

function page(document: Document) {
  const { info, paths = {}, components } = document;
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );
  return html`<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${info.title} API</title><style>${raw(STYLE)}</style></head>
<body>
<h1>${info.title} <small>${info.version}</small></h1>
<p>${info.description} The same as a machine reads it: <a href="openapi.json">openapi.json</a>.</p>
<p>Where the gateway has keys, each call but those of <code>/healthz</code>, <code>/readyz</code>, <code>/openapi.json</code> and <code>/docs</code>
carries one: <code>Authorization: Bearer KEY</code>.</p>
<h2>Calls</h2>
${operations.map(({ path, method, operation }) => call(method, path, operation))}
<h2>Shapes</h2>
${Object.entries(components?.schemas ?? {}).map(([name, schema]) => shape(name, schema))}
<h2>Errors</h2>
<p>A program that fails is a result. These are what Mayfly could not do, as <code>application/problem+json</code>.</p>
<table>${Object.entries(REASONS).map(([reason, { code, says: what }]) => html`<tr id="${reason}"><td><code>${reason}</code></td><td><code>${code}</code></td><td>${what}</td></tr>`)}</table>
</body></html>`;
}

function call(method: string, path: string, operation: Operation) {
  const body = Object.entries(operation.requestBody?.content ?? {}).map(
    ([type, { schema }]) => html`<p>Body: <code>${type}</code>, ${typeOf(schema ?? {})}</p>`,
  );
  const parameters = (operation.parameters ?? []).map(
    (parameter) =>
      html`<tr><td><code>${parameter.name}</code></td><td>${parameter.in}</td><td>${parameter.description ?? parameter.schema?.description ?? ""}</td></tr>`,
  );
  const responses = Object.entries(operation.responses ?? {}).map(
    ([status, { description }]) => html`<tr><td><code>${status}</code></td><td colspan="2">${description}</td></tr>`,
  );
  return html`<h3><code>${method.toUpperCase()} ${path}</code></h3><p>${operation.summary}</p>${body}<table>${parameters}${responses}</table>`;
}

function shape(name: string, schema: Schema) {
  const rows = Object.entries(schema.properties ?? {}).map(
    ([field, of]) =>
      html`<tr><td><code>${field}</code>${schema.required?.includes(field) ? "" : " (optional)"}</td><td>${typeOf(of)}</td><td>${says(of)}</td></tr>`,
  );
  const content = rows.length > 0 ? html`<table>${rows}</table>` : html`<p>${typeOf(schema)}</p>`;
  return html`<h3 id="${name}"><code>${name}</code></h3><p>${schema.description ?? ""}</p>${content}`;
}

function says({ description = "", minimum, maximum, maxItems, default: fallback }: Schema): string {
  const bounds = [
    minimum === undefined ? "" : `At least ${minimum}.`,
    maximum === undefined || maximum === Number.MAX_SAFE_INTEGER ? "" : `At most ${maximum}.`,
    maxItems === undefined ? "" : `At most ${maxItems} items.`,
    fallback === undefined ? "" : `Default: ${JSON.stringify(fallback)}.`,
  ];
  return [description, ...bounds].filter((part) => part !== "").join(" ");
}

/** A type as a reader would say it, with links to the shapes that have names. */
function typeOf(schema: Schema): ReturnType<typeof html> | string {
  if (schema.$ref) {
    const name = schema.$ref.split("/").at(-1) ?? "";
    return html`<a href="#${name}">${name}</a>`;
  }
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return html`${choices.map((choice, i) => html`${i > 0 ? " or " : ""}${typeOf(choice)}`)}`;
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.items) return html`array of ${typeOf(schema.items)}`;
  if (schema.properties)
    return html`{ ${Object.entries(schema.properties).map(([field, of], i) => html`${i > 0 ? ", " : ""}${field}: ${typeOf(of)}`)} }`;
  return String(schema.type ?? "any");
}
