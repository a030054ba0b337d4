// Secrets that runs are given as environment variables: their names, the key that they are sealed with, sealing and opening.
//
//   operator ── value ──▶ gateway, seals ──▶ Redis ──▶ worker, opens when the run starts ──▶ the program's environment
//
// What is kept is AES-256-GCM with the secret's owner and name as authenticated data, so that nobody who may write to Redis can pass one
// secret off as another. A text that is sealed says which key it was sealed with: `KEYID.NONCE.CIPHERTEXT+TAG`, base 64 for URLs.

import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { z } from "zod";
import { TenantName } from "./api-key.ts";
import { type Setting, secretFile } from "./config.ts";
import { MayflyError } from "./errors.ts";

export const SECRET_BOUNDS = {
  /** Of one run. Together with the longest value this is far less than the kernel takes for an environment. */
  ofRun: 32,
  /** A private key or a file of credentials has a few KiB. */
  valueBytes: 16 * 1024,
  /** Of one tenant, and of those that are for all tenants. */
  ofOwner: 1_000,
  all: 10_000,
} as const;

export const SECRET_NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

export const SecretName = z
  .string()
  .regex(SECRET_NAME_PATTERN, "is not a secret's name: up to 63 of letters, digits, dot, _ and -")
  .meta({ description: "The secret's name.", example: "registry-password" });

export const NewSecret = z
  .strictObject({
    value: z
      .string()
      .min(1)
      .refine((value) => !value.includes("\0"), "must not contain a NUL")
      .refine(
        (value) => Buffer.byteLength(value) <= SECRET_BOUNDS.valueBytes,
        `has more than ${SECRET_BOUNDS.valueBytes} bytes`,
      )
      .meta({
        description: `Text of at most ${SECRET_BOUNDS.valueBytes} bytes. It is never told again.`,
        writeOnly: true,
      }),
  })
  .meta({ id: "NewSecret" });

export const Secret = z
  .strictObject({
    name: SecretName,
    tenant: TenantName.optional().meta({ description: "Whose runs may have it; all tenants' without it." }),
    changedAt: z.string(),
  })
  .meta({ id: "Secret", description: "What is told of a secret: not its value." });

export type Secret = z.infer<typeof Secret>;

export const SecretPage = z
  .strictObject({
    secrets: z.array(Secret),
    next: z.string().optional().meta({ description: "The cursor of the next page, if there may be one." }),
  })
  .meta({ id: "SecretPage" });

export type SecretPage = z.infer<typeof SecretPage>;

/** Keys by their ids; the first is what is sealed with. */
export type Keyring = ReadonlyMap<string, Buffer>;

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Undefined if it is none: a line each, `ID BASE64`, of 32 bytes. */
export function parseKeyring(text: string): Keyring | undefined {
  const keyring = new Map<string, Buffer>();
  for (const line of text.split("\n")) {
    if (line.trim() === "" || line.startsWith("#")) continue;
    const [, id, base64] = /^([a-z0-9-]{1,32}) ([A-Za-z0-9+/]{43}=)\s*$/.exec(line) ?? [];
    const key = Buffer.from(base64 ?? "", "base64");
    if (id === undefined || key.length !== KEY_BYTES || keyring.has(id)) return undefined;
    keyring.set(id, key);
  }
  return keyring.size > 0 ? keyring : undefined;
}

/** The file with the cluster's keys for secrets: the same for gateways and workers. */
export function keyringFile(): Setting<Keyring> & { readonly optional: true } {
  const file = secretFile(
    "MAYFLY_SECRETS_KEY_FILE",
    "A file of the keys that secrets are sealed with in Redis, the same for all gateways and workers: a line each, `ID BASE64`, 32 random bytes. The first seals, all open: to rotate, put a new one first, set the secrets again, and take the old one away. Without it there are no secrets.",
    { form: "with keys, a line each: an ID of a-z, 0-9 and -, and 32 bytes in base 64" },
  );
  return {
    ...file,
    parse: (path) => {
      const text = file.parse(path);
      return text === undefined ? undefined : parseKeyring(text);
    },
  };
}

/** Whose secret it is: `*` are all tenants. */
export const ownerOf = (tenant: string | undefined): string => tenant ?? "*";

/** `of` is the secret's owner and name, and has to be the same when it is opened. */
export function seal(keyring: Keyring, of: string, value: string): string {
  const [[id, key] = ["", Buffer.alloc(0)]] = keyring;
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_BYTES }).setAAD(Buffer.from(of));
  const sealed = Buffer.concat([cipher.update(value, "utf8"), cipher.final(), cipher.getAuthTag()]);
  return [id, nonce.toString("base64url"), sealed.toString("base64url")].join(".");
}

/** Errors: `secret_unreadable`, with nothing of what it says. */
export function open(keyring: Keyring, of: string, text: string): string {
  const [id = "", nonce = "", sealed = ""] = text.split(".");
  const key = keyring.get(id);
  if (!key) throw unreadable(of, "was sealed with a key that is not here");
  try {
    const bytes = Buffer.from(sealed, "base64url");
    const decipher = createDecipheriv("aes-256-gcm", key, Buffer.from(nonce, "base64url"), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(Buffer.from(of)).setAuthTag(bytes.subarray(-TAG_BYTES));
    return Buffer.concat([decipher.update(bytes.subarray(0, -TAG_BYTES)), decipher.final()]).toString("utf8");
  } catch {
    throw unreadable(of, "is not what was sealed");
  }
}

function unreadable(of: string, why: string): MayflyError {
  return new MayflyError("secret_unreadable", `the secret ${of.slice(of.indexOf(":") + 1)} ${why}`);
}
