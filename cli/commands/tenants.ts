// mayfly tenants: how much of the cluster each tenant may have. The first word says what.

import { TENANT_PATTERN } from "../../core/api-key.ts";
import type { Tenant, TenantChange } from "../../core/tenant.ts";
import { defineCommand, type Input } from "../command.ts";
import { parseDockerSize } from "../docker-size.ts";
import { EXIT } from "../exit-codes.ts";
import { printJson } from "../io.ts";
import { nearest } from "../nearest.ts";
import { alignColumns } from "../table.ts";
import { UsageError } from "../usage-error.ts";

const NUMBERS = ["weight", "running", "queued", "cpus", "rate", "burst"] as const;

const TENANT_FLAGS = {
  weight: { value: "NUMBER", says: "Its share of hosts that several tenants wait for; 1 if unset." },
  running: { value: "NUMBER", says: "Runs that hold a host at once." },
  queued: { value: "NUMBER", says: "Runs that wait at once." },
  cpus: { value: "NUMBER", says: "CPUs that its runs may be promised at once." },
  memory: { value: "SIZE", says: "Memory that its runs may be promised at once." },
  rate: { value: "NUMBER", says: "Requests a second, over all gateways." },
  burst: { value: "NUMBER", says: "Requests that may come at once; those of one second without it." },
} as const;

type TenantsInput = Input<typeof TENANT_FLAGS>;

const TAKES: Readonly<Record<string, string>> = { ls: "", set: "TENANT FLAGS", inspect: "TENANT" };

export const tenants = defineCommand({
  name: "tenants",
  synopsis: "ACTION [TENANT]",
  says: "Lists tenants, and sets how much of the cluster each may have (operators).",
  notes: [
    [
      "ls               those that have settings or keys",
      "set TENANT       changes what the flags name; a value none takes a quota away",
      "inspect TENANT   what it may have, as JSON",
    ].join("\n"),
  ],
  flags: TENANT_FLAGS,
  operands: { min: 1, max: 2 },
  examples: ["mayfly tenants set --weight 2 --running 50 --memory 64GiB acme", "mayfly tenants set --rate none acme"],
  execute: async (input) => {
    const [action = "", tenant] = input.operands;
    const takes = Object.hasOwn(TAKES, action) ? TAKES[action] : undefined;
    if (takes === undefined) throw unknownAction(action);
    if (takes === "" && tenant !== undefined)
      throw new UsageError(`${JSON.stringify(tenant)} is one argument too many`);
    const given = [...NUMBERS, "memory" as const].find((flag) => input.flags[flag] !== undefined);
    if (action !== "set" && given !== undefined) throw new UsageError(`${action} has no use for --${given}`);
    if (action === "ls") return list(input);
    if (tenant === undefined) throw new UsageError(`TENANT is missing; it takes ${action} ${takes}`);
    if (!TENANT_PATTERN.test(tenant)) throw new UsageError(`TENANT ${JSON.stringify(tenant)} is not a tenant's name`);
    if (action === "inspect") return show(await input.client.tenants.inspect(tenant), input);
    return show(await input.client.tenants.set(tenant, changeOf(input.flags)), input);
  },
});

async function list({ client, io, json }: TenantsInput): Promise<number> {
  const rows: string[][] = [];
  for await (const tenant of client.tenants.list()) {
    if (json) await printJson(io, tenant);
    else rows.push(rowOf(tenant));
  }
  const head = ["TENANT", "WEIGHT", "RUNNING", "QUEUED", "CPUS", "MEMORY", "RATE", "BURST", "KEYS"];
  if (!json) await io.stdout.write(`${alignColumns([head, ...rows]).join("\n")}\n`);
  return EXIT.ok;
}

function rowOf({ name, weight, running, queued, cpus, memory, rate, burst, keys }: Tenant): string[] {
  return [name, weight, running, queued, cpus, memory, rate, burst, keys].map((cell) => String(cell ?? "-"));
}

async function show(tenant: Tenant, { io, json }: TenantsInput): Promise<number> {
  await (json ? printJson(io, tenant) : io.stdout.write(`${JSON.stringify(tenant, undefined, 2)}\n`));
  return EXIT.ok;
}

/** What the flags name. The gateway knows the bounds of each. */
function changeOf(flags: TenantsInput["flags"]): TenantChange {
  const numbers = NUMBERS.flatMap((name) => (flags[name] === undefined ? [] : [[name, toNumber(name, flags[name])]]));
  const memory = flags.memory === undefined ? {} : { memory: toSize(flags.memory) };
  const change: TenantChange = { ...Object.fromEntries(numbers), ...memory };
  if (Object.keys(change).length > 0) return change;
  throw new UsageError(`there is nothing to set: ${["memory", ...NUMBERS].map((name) => `--${name}`).join(", ")}`);
}

function toNumber(name: string, text: string): number | null {
  if (text === "none") return null;
  if (/^\d{1,9}(\.\d{1,6})?$/.test(text)) return Number(text);
  throw new UsageError(`--${name} ${JSON.stringify(text)} is neither a number nor none`);
}

function toSize(text: string): string | null {
  if (text === "none") return null;
  const size = parseDockerSize(text);
  if (size === undefined)
    throw new UsageError(`--memory ${JSON.stringify(text)} is neither a size, such as 64GiB, nor none`);
  return size;
}

function unknownAction(name: string): UsageError {
  const near = nearest(name, Object.keys(TAKES));
  const advice = near === undefined ? `: ${Object.keys(TAKES).join(", ")}` : `; did you mean ${near}?`;
  return new UsageError(`there is no action ${JSON.stringify(name)}${advice}`);
}
