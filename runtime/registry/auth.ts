// Proving who we are to a registry: Basic, and the Bearer token flow (distribution project, "Token Authentication").
//
//   GET manifest ──▶ 401, Bearer realm=R service=S scope=C
//   GET R?service=S&scope=C, with Basic credentials if there are any ──▶ {"token": T, "expires_in": seconds}
//   GET manifest, Bearer T ──▶ 200

import { z } from "zod";
import { monotonicMs } from "../../core/clock.ts";
import { MayflyError } from "../../core/errors.ts";
import type { Repository } from "../image/reference.ts";
import type { Answer } from "./answer.ts";
import { type Challenge, parseChallenges } from "./challenge.ts";
import type { Credentials } from "./credentials.ts";
import type { PlainHttpPolicy } from "./origin.ts";
import { refusalOf } from "./refusal.ts";
import type { Headings, Transport } from "./transport.ts";
import { withoutLogin } from "./transport.ts";

/** The specification's default when a token does not say how long it lives, and the least it asks servers to give. */
const DEFAULT_TOKEN_SECONDS = 60;
/** A token is not used in its last seconds, so that it does not expire on the way. */
const TOKEN_MARGIN_MS = 5_000;
/** A token is some hundred bytes, and rarely kilobytes when it lists many grants. */
const MAX_TOKEN_BYTES = 64 * 1024;
/** One a repository that was asked lately; the oldest goes first. */
const MAX_REMEMBERED = 512;

const TOKEN_ANSWER = z.object({
  token: z.string().min(1).optional(),
  access_token: z.string().min(1).optional(),
  expires_in: z.number().positive().optional(),
});

export interface Authenticator {
  /** The `Authorization` header that worked lately for this repository, or undefined. */
  remembered(repository: Repository): string | undefined;
  /** Meets the challenge of a 401 and remembers how. `image_access_denied` when we have nothing that the registry takes. */
  meet(repository: Repository, refused: Answer, signal: AbortSignal): Promise<string>;
}

interface Remembered {
  readonly authorization: string;
  readonly expiresMs: number;
}

export function createAuthenticator(
  transport: Transport,
  policy: PlainHttpPolicy,
  credentials: Credentials,
): Authenticator {
  const memory = new Map<string, Remembered>();
  return {
    remembered(repository) {
      const entry = memory.get(keyOf(repository));
      return entry && entry.expiresMs > monotonicMs() ? entry.authorization : undefined;
    },
    async meet(repository, refused, signal) {
      const basic = credentials.get(repository.host);
      const entry = await answerChallenge({ repository, refused, basic, transport, policy, signal });
      memory.delete(keyOf(repository));
      memory.set(keyOf(repository), entry);
      for (const oldest of memory.keys()) if (memory.size > MAX_REMEMBERED) memory.delete(oldest);
      return entry.authorization;
    },
  };
}

interface Meeting {
  readonly repository: Repository;
  readonly refused: Answer;
  readonly basic: string | undefined;
  readonly transport: Transport;
  readonly policy: PlainHttpPolicy;
  readonly signal: AbortSignal;
}

/** Bearer first: a registry that offers both wants Basic only at its realm. */
async function answerChallenge(meeting: Meeting): Promise<Remembered> {
  const { refused, basic, repository } = meeting;
  const challenges = parseChallenges(refused.headers.get("www-authenticate") ?? "");
  const bearer = challenges.find(({ scheme }) => scheme === "bearer");
  if (bearer) return fetchToken(bearer, meeting);
  const takesBasic = challenges.some(({ scheme }) => scheme === "basic");
  if (takesBasic && basic !== undefined)
    return { authorization: `Basic ${basic}`, expiresMs: Number.POSITIVE_INFINITY };
  throw denied(repository, takesBasic ? "the registry asks for a login" : "the registry offers no way to log in");
}

async function fetchToken(challenge: Challenge, meeting: Meeting): Promise<Remembered> {
  const { repository, basic, transport, signal } = meeting;
  const askedMs = monotonicMs();
  const headers: Headings = basic === undefined ? {} : { authorization: `Basic ${basic}` };
  const answer = await transport.get(realmUrl(challenge, meeting), headers, signal);
  if (answer.status !== 200) throw await refusalOfToken(answer, repository);
  const token = readToken(await answer.bytes(MAX_TOKEN_BYTES));
  if (token === undefined) throw denied(repository, "the registry's token service gives no token");
  return { authorization: `Bearer ${token.value}`, expiresMs: askedMs + token.seconds * 1_000 - TOKEN_MARGIN_MS };
}

/** A token service knows users, not images: whatever it refuses is a matter of access, unless it is only out of order. */
async function refusalOfToken(answer: Answer, repository: Repository): Promise<MayflyError> {
  const refusal = await refusalOf(answer, `a token for ${repository.path}`);
  if (refusal.reason === "registry_unavailable") return refusal;
  return new MayflyError("image_access_denied", refusal.message, { details: refusal.details });
}

/** Some registries name no scope; then it is the one this request needs. A realm is as foreign as a redirect. */
function realmUrl({ parameters }: Challenge, { repository, refused, policy }: Meeting): URL {
  const { realm = "", service, scope = `repository:${repository.path}:pull` } = parameters;
  if (!URL.canParse(realm)) throw denied(repository, "the registry names no token service");
  const url = withoutLogin(new URL(realm));
  if (!policy.allows(url, refused.url))
    throw denied(repository, "the registry's token service would get the login in the clear");
  if (service !== undefined) url.searchParams.set("service", service);
  url.searchParams.set("scope", scope);
  return url;
}

function readToken(body: Buffer | undefined): { value: string; seconds: number } | undefined {
  const answer = TOKEN_ANSWER.safeParse(parseJson(body)).data;
  const value = answer?.token ?? answer?.access_token;
  const isHeaderSafe = value !== undefined && /^[\x21-\x7e]+$/.test(value);
  return isHeaderSafe ? { value, seconds: answer?.expires_in ?? DEFAULT_TOKEN_SECONDS } : undefined;
}

function parseJson(body: Buffer | undefined): unknown {
  try {
    return JSON.parse(body?.toString("utf8") ?? "");
  } catch {
    return undefined; // The caller's schema refuses undefined, with a better message.
  }
}

function keyOf({ host, path }: Repository): string {
  return `${host}/${path}`;
}

function denied({ host, path }: Repository, why: string): MayflyError {
  return new MayflyError("image_access_denied", `${host}/${path}: ${why}`, { details: { host, repository: path } });
}
