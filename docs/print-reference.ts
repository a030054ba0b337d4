// Writes docs/errors.md, docs/configuration.md and docs/api.md from the tables and the routes that the code itself uses:
//
//   node docs/print-reference.ts
//
// A test holds the pages to what is printed here.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describeSettings } from "../core/config.ts";
import { CODES, type ErrorReason, REASONS } from "../core/errors.ts";
import { GATEWAY_SETTINGS } from "../gateway/config.ts";
import { OTEL_SETTINGS } from "../telemetry/settings.ts";
import { WEAKNESSES, WORKER_SETTINGS } from "../worker/config.ts";
import { openApi, printApi } from "./print-api.ts";

/** The pages by their names in this folder. */
export const PAGES: Readonly<Record<string, () => string | Promise<string>>> = {
  "api.md": printCalls,
  "errors.md": printErrors,
  "configuration.md": printConfiguration,
};

function printErrors(): string {
  const rows = (Object.keys(REASONS) as ErrorReason[])
    .toSorted((a, b) => CODES.indexOf(REASONS[a].code) - CODES.indexOf(REASONS[b].code))
    .map((reason) => `| <a id="${reason}"></a>\`${reason}\` | \`${REASONS[reason].code}\` | ${REASONS[reason].says} |`);
  return page(
    "Errors",
    [
      "What Mayfly could not do is answered as `application/problem+json` (RFC 9457). `code` decides what a program should do",
      "about it and does not change; `reason` says exactly what happened, and is one of the rows below. How a run's own program",
      "ended is never an error: that is the run's `outcome`. An outcome of the kind `rejected` carries one of these reasons too.",
      "",
      "`resource_exhausted` and `unavailable` are answered with `Retry-After`: the same request may succeed later.",
    ],
    ["| reason | code | what it means |", "|---|---|---|", ...rows],
  );
}

async function printCalls(): Promise<string> {
  return page(
    "The API",
    [
      "Every call of a gateway, from the document that it serves at `/openapi.json` (OpenAPI 3.1), which has the shapes of all bodies and answers. With",
      "keys, a call carries one as `authorization: Bearer`; `MAYFLY_URL` is where the gateway is. What fails is answered as [errors.md](errors.md) says.",
    ],
    printApi(await openApi()),
  );
}

function printConfiguration(): string {
  return page(
    "Configuration",
    [
      "Each process reads its settings from the environment, once, when it starts. It does not start with a value that it cannot",
      "read or with a `MAYFLY_*` variable that it does not know, and then names every such variable in its log. Secrets are never",
      "in the environment: a variable that ends in `_FILE` names the file that holds one.",
    ],
    [
      ...["## Gateway", "", describeSettings(GATEWAY_SETTINGS), ""],
      ...["## Worker", "", describeSettings(WORKER_SETTINGS), ""],
      ...["## Telemetry", "", ...telemetry(), "", describeSettings(OTEL_SETTINGS), ""],
      ...["## Hosts", "", ...hosts()],
    ],
  );
}

function telemetry(): string[] {
  return [
    "Gateway and worker take the standard variables of OpenTelemetry too: those below, and `OTEL_EXPORTER_OTLP_*` for headers, certificates,",
    "compression and time-outs, and `OTEL_RESOURCE_ATTRIBUTES`, which its SDK reads itself. What is told, and who may read `/metrics`:",
    "[telemetry.md](telemetry.md).",
  ];
}

function hosts(): string[] {
  return [
    "A worker looks at its host once, when it starts, and tells what it has found in one line of its log, `host.probed`. What is",
    "missing keeps it from starting, and is named in one error:",
    "",
    "- root, which makes containers;",
    "- user namespaces: layers are stored with the ids that a container's users have outside of it, and container root is nobody there;",
    "- overlayfs: layers are shared by the containers of a host, and none may write to them;",
    "- seccomp filters;",
    "- cgroups (v1, hybrid or v2) with limits of memory, CPU time and processes, and rules for devices: a limit that nobody enforces",
    "  must not be accepted;",
    "- Linux 5.12 for the launcher, 5.9 for the driver `oci`.",
    "",
    "Runs are possible, but bounded less than by default, where one of these holds. The worker starts there only if",
    "`MAYFLY_ALLOW_WEAKER` names it, and names it in that line of its log, under `weaker`:",
    "",
    ...Object.entries(WEAKNESSES).map(([name, says]) => `- \`${name}\`: ${says}.`),
    "",
    "It is what holds at the start that counts: swap that is put on later is not seen. What the driver `oci` is told (the filter of",
    "system calls, the limits) it passes on to the OCI runtime, and takes that at its word.",
  ];
}

function page(title: string, introduction: readonly string[], body: readonly string[]): string {
  const origin = "<!-- Printed by docs/print-reference.ts; edit the tables in the code, then run it. -->";
  return `${[`# ${title}`, "", origin, "", ...introduction, "", ...body].join("\n")}\n`;
}

if (import.meta.main) {
  for (const [name, print] of Object.entries(PAGES)) writeFileSync(join(import.meta.dirname, name), await print());
}
