// The signature of a delivery, as Standard Webhooks has it: HMAC-SHA256 over `id.timestamp.body`.
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

import { createHmac, randomBytes } from "node:crypto";

const PREFIX = "whsec_";

/** The specification wants 24 to 64 bytes. */
const SECRET_BYTES = 32;

export interface Signed {
  /** The same for all attempts, so that a receiver knows what it has had. */
  readonly id: string;
  /** Of the attempt, so that one that was recorded on its way cannot be sent again later. */
  readonly epochSeconds: number;
  readonly body: string;
}

export function newSecret(): string {
  return PREFIX + randomBytes(SECRET_BYTES).toString("base64");
}

/** `v1,<base64>`, once for each secret: while one is being replaced a receiver may know either. */
export function sign({ id, epochSeconds, body }: Signed, secrets: readonly string[]): string {
  const content = `${id}.${epochSeconds}.${body}`;
  return secrets
    .map((secret) => `v1,${createHmac("sha256", keyOf(secret)).update(content).digest("base64")}`)
    .join(" ");
}

function keyOf(secret: string): Buffer {
  return Buffer.from(secret.slice(PREFIX.length), "base64");
}
