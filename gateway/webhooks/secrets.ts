// What a tenant's deliveries are signed with: one secret, and for a day those that it has replaced, so that a receiver may change over
// at leisure. They stand in Redis as they are: whoever reads Redis has what is signed, too.

import { wallTime } from "../../core/clock.ts";
import { keys } from "../../core/keys.ts";
import { define } from "../../core/transition-parts.ts";
import type { WebhookSecret } from "../../core/webhook.ts";
import type { RunScript } from "./outbox.ts";
import { newSecret } from "./signature.ts";

/** How long a secret that was replaced still signs. */
export const OVERLAP_MS = 24 * 3_600_000;
/** So many secrets of a tenant sign at once. One that is replaced more often than that in a day loses the eldest. */
export const MAX_SECRETS = 4;

/** KEYS: secrets. ARGV: a new secret, "1" to put it in the place of the present one → secrets and until when, the present one first */
const secrets = define(`
  local set, fresh, rotate = KEYS[1], ARGV[1], ARGV[2] == '1'
  redis.call('ZREMRANGEBYSCORE', set, '-inf', now())
  local present = redis.call('ZRANGEBYSCORE', set, '+inf', '+inf')[1]
  if present and rotate then redis.call('ZADD', set, now() + ${OVERLAP_MS}, present) end
  if rotate or not present then redis.call('ZADD', set, '+inf', fresh) end
  redis.call('ZREMRANGEBYRANK', set, 0, -1 - ${MAX_SECRETS})
  return redis.call('ZREVRANGE', set, 0, -1, 'WITHSCORES')
`);

export class Secrets {
  readonly #run: RunScript;

  constructor(run: RunScript) {
    this.#run = run;
  }

  /** Made when first asked for. */
  get(tenant: string): Promise<WebhookSecret> {
    return this.#ask(tenant, "");
  }

  /** A new one from now on; the one before signs beside it for a day. */
  rotate(tenant: string): Promise<WebhookSecret> {
    return this.#ask(tenant, "1");
  }

  async #ask(tenant: string, rotate: "" | "1"): Promise<WebhookSecret> {
    const answer = (await this.#run(secrets, [keys.webhookSecrets(tenant)], [newSecret(), rotate])) as string[];
    const [secret = "", , ...rest] = answer;
    const previous: WebhookSecret["previous"][number][] = [];
    for (let i = 0; i + 1 < rest.length; i += 2)
      previous.push({ secret: String(rest[i]), until: wallTime(Number(rest[i + 1])) });
    return { secret, previous };
  }
}
