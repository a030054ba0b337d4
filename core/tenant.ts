// A tenant: a name that runs and keys belong to, and how much of the cluster it may have. One that nothing was set for has weight 1 and
// no quota.

import { z } from "zod";
import { TenantName } from "./api-key.ts";
import { formatSize, parseSize, SIZE_FORM } from "./units.ts";

const MIB = 2 ** 20;

export const TENANT_BOUNDS = {
  weight: { min: 1, max: 1_000 },
  running: { min: 1, max: 1_000_000 },
  queued: { min: 0, max: 10_000_000 },
  cpus: { min: 0.01, max: 1_000_000 },
  /** Less than the smallest run may have is a tenant that can run nothing. */
  memory: { min: 16 * MIB, max: 2 ** 50 },
  /** From one in a quarter of an hour to more than any gateway answers. */
  rate: { min: 0.001, max: 1_000_000 },
  burst: { min: 1, max: 1_000_000 },
  /** Tenants that have keys or settings in Redis. */
  tenants: 10_000,
} as const;

type Range = { readonly min: number; readonly max: number };

const whole = ({ min, max }: Range, says: string, example: number) =>
  z.int().min(min).max(max).meta({ description: says, example });
const amount = ({ min, max }: Range, says: string, example: number) =>
  z.number().min(min).max(max).meta({ description: says, example });

const memory = z
  .string()
  .superRefine((text, context) => {
    const { min, max } = TENANT_BOUNDS.memory;
    const bytes = parseSize(text);
    const problem =
      bytes === undefined
        ? `is not ${SIZE_FORM}`
        : bytes < min
          ? `is less than ${formatSize(min)}`
          : bytes > max && `is more than ${formatSize(max)}`;
    if (problem) context.addIssue({ code: "custom", message: problem });
  })
  .meta({ description: "Memory that its runs may be promised at once.", example: "64GiB" });

const QUOTAS = {
  running: whole(TENANT_BOUNDS.running, "Runs that hold a host at once.", 50),
  queued: whole(TENANT_BOUNDS.queued, "Runs that wait at once.", 1_000),
  cpus: amount(TENANT_BOUNDS.cpus, "CPUs that its runs may be promised at once.", 32),
  memory,
  rate: amount(TENANT_BOUNDS.rate, "Requests a second, over all gateways.", 100),
  burst: whole(
    TENANT_BOUNDS.burst,
    "Requests that may come at once; without it, those of one second. Of use only with `rate`.",
    200,
  ),
};
const weight = whole(TENANT_BOUNDS.weight, "Its share of hosts that several wait for, against the others' weights.", 2);

export const Tenant = z
  .strictObject({
    name: TenantName,
    weight,
    ...z.strictObject(QUOTAS).partial().shape,
    keys: z.int().meta({ description: "Keys that it has in Redis; those of the gateway's file do not count." }),
  })
  .meta({ id: "Tenant", description: "A quota that is not there is not set: the cluster is the limit." });

export type Tenant = z.infer<typeof Tenant>;

const nullable = <T extends z.ZodType>(schema: T) => schema.nullable().optional();

/** A merge: what is not named stays, and null takes a quota away (RFC 7396). */
export const TenantChange = z
  .strictObject({
    weight: nullable(weight),
    running: nullable(QUOTAS.running),
    queued: nullable(QUOTAS.queued),
    cpus: nullable(QUOTAS.cpus),
    memory: nullable(QUOTAS.memory),
    rate: nullable(QUOTAS.rate),
    burst: nullable(QUOTAS.burst),
  })
  .refine((change) => Object.keys(change).length > 0, "names nothing that is to change")
  .meta({ id: "TenantChange", description: "What is not named stays as it is; null takes a quota away." });

export type TenantChange = z.infer<typeof TenantChange>;

export const TenantPage = z
  .strictObject({
    tenants: z.array(Tenant),
    next: z.string().optional().meta({ description: "The cursor of the next page, if there may be one." }),
  })
  .meta({ id: "TenantPage" });

export type TenantPage = z.infer<typeof TenantPage>;
