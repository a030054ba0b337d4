// API keys as they cross HTTP: what a key may do, how it looks, what is told of it. The key itself is told once, when it is made.

import { z } from "zod";
import { durationWithin } from "./limits.ts";
import { formatDuration } from "./units.ts";

/** What a key may be allowed to do; `admin` is the operator's: keys, tenants, hosts, and what changes images. */
export const SCOPES = ["submit", "read", "cancel", "admin"] as const;

export type Scope = (typeof SCOPES)[number];

/** A tenant's name; also the first word of a line in the gateway's file of keys. */
export const TENANT_PATTERN = /^[a-z0-9][a-z0-9_-]{0,62}$/;

export const KEY_ID_PATTERN = /^key_[0-9a-hjkmnp-tv-z]{12}$/;

const DAY_MS = 86_400_000;

export const KEY_BOUNDS = {
  nameCharacters: 128,
  expiresInMs: { min: 60_000, max: 3_650 * DAY_MS },
  /** An old key that is good for longer than this was not rotated out. */
  overlapMs: { min: 0, max: 30 * DAY_MS },
  /** Of one tenant. Keys that are over make room for new ones. */
  keysOfTenant: 100,
} as const;

export const DEFAULT_OVERLAP = "24h";

export const TenantName = z
  .string()
  .regex(TENANT_PATTERN, "is not a tenant's name: up to 63 of a-z, 0-9, _ and -, the first a letter or digit")
  .meta({ description: "A tenant's name.", example: "acme" });

export const KeyId = z
  .string()
  .regex(KEY_ID_PATTERN, "is not a key's id: key_ and twelve characters, not the key itself")
  .meta({ description: "Of the key; it is no secret.", example: "key_3v8k2m9q4t7x" });

const duration = (range: { readonly min: number; readonly max: number }, says: string, example: string) =>
  durationWithin(range).meta({
    description: `${says} From ${formatDuration(range.min)} to ${formatDuration(range.max)}.`,
    example,
  });

const Scopes = z
  .array(z.enum(SCOPES))
  .min(1)
  .max(SCOPES.length)
  .refine((scopes) => new Set(scopes).size === scopes.length, "names a scope twice");

/** For people; printable, so that it can stand in a list. */
const Name = z
  .string()
  .min(1)
  .max(KEY_BOUNDS.nameCharacters)
  .refine((text) => !/\p{C}/u.test(text), "has a character that cannot be printed")
  .refine((text) => !text.includes("mayfly_"), "looks like a key: a name is shown to others")
  .meta({ description: "For people to know it by.", example: "nightly build" });

export const NewKey = z
  .strictObject({
    tenant: TenantName,
    name: Name,
    scopes: Scopes.meta({
      description: "What the key may do: `submit` runs, `read` them, `cancel` them; `admin` is the operator's.",
      example: ["submit", "read"],
    }),
    expiresIn: duration(
      KEY_BOUNDS.expiresInMs,
      "How long it is good for; without it, until it is revoked.",
      "90d",
    ).optional(),
  })
  .meta({ id: "NewKey" });

export type NewKey = z.infer<typeof NewKey>;

export const KeyRotation = z
  .strictObject({
    overlap: duration(
      KEY_BOUNDS.overlapMs,
      "How long the key that was good until now stays so.",
      DEFAULT_OVERLAP,
    ).default(DEFAULT_OVERLAP),
  })
  .meta({ id: "KeyRotation" });

const time = (says: string) => z.string().meta({ description: says, example: "2026-05-01T12:00:00.000Z" });

export const ApiKey = z
  .strictObject({
    id: KeyId,
    tenant: TenantName,
    name: z.string(),
    scopes: z.array(z.enum(SCOPES)),
    createdAt: time("When it was made."),
    expiresAt: time("From when on it is refused.").optional(),
    lastUsedAt: time("When it was last used, to about a minute.").optional(),
    rotatedAt: time("When it was last rotated.").optional(),
    previousUntil: time("Until when the key from before the rotation is good.").optional(),
  })
  .meta({ id: "ApiKey", description: "What there is to know of a key, but for the key." });

export type ApiKey = z.infer<typeof ApiKey>;

export const MadeKey = ApiKey.extend({
  key: z.string().meta({
    description: "The key: `mayfly_`, its id, `_`, 160 random bits and a checksum. It is shown here and never again.",
    example: "mayfly_3v8k2m9q4t7x_…",
  }),
}).meta({ id: "MadeKey" });

export type MadeKey = z.infer<typeof MadeKey>;

export const KeyPage = z
  .strictObject({
    keys: z.array(ApiKey),
    next: z.string().optional().meta({ description: "The cursor of the next page, if there may be one." }),
  })
  .meta({ id: "KeyPage" });

export type KeyPage = z.infer<typeof KeyPage>;
