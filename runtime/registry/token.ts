// Tokens of a registry's token service (distribution project, "Token Authentication" and "OAuth2 Token Authentication").
//
//   with a password, or nobody's    GET R?service=S&scope=C        Authorization: Basic …
//   with a refresh token            POST R                         grant_type=refresh_token&service=S&scope=C&client_id=mayfly&refresh_token=…
//   both are answered               {"token" or "access_token": T, "expires_in": seconds, "issued_at": time, "refresh_token": …}

import { z } from "zod";
import { monotonicMs } from "../../core/clock.ts";
import type { Answer } from "./answer.ts";
import { isHeaderSafe, type Login } from "./login.ts";
import type { Request } from "./transport.ts";

/** The specification's default when a token does not say how long it lives, and the least it asks servers to give. */
const DEFAULT_TOKEN_SECONDS = 60;
/** A token is some hundred bytes, and rarely kilobytes when it lists many grants. */
const MAX_TOKEN_BYTES = 64 * 1024;

const TEXT = z.string().nullish();

/** Some services send both names of the token, one of them empty. */
const TOKEN_ANSWER = z.object({
  token: TEXT,
  access_token: TEXT,
  refresh_token: TEXT,
  expires_in: z.unknown().optional(),
  issued_at: TEXT,
});

/** What a challenge asks for, and where. */
export interface TokenService {
  readonly realm: URL;
  readonly service: string | undefined;
  /** Several are separated by spaces, as in the challenge. */
  readonly scope: string;
}

export interface Token {
  readonly value: string;
  /** On the monotonic clock. */
  readonly expiresMs: number;
  /** Takes the place of the refresh token that it was got with. */
  readonly refreshToken: string | undefined;
}

/** How the service is asked; a bearer login needs none. */
export function tokenRequest(
  { realm, service, scope }: TokenService,
  login: Exclude<Login, { kind: "bearer" }> | undefined,
): Pick<Request, "method" | "headers" | "body"> & { url: URL } {
  const scopes = scope.split(" ").filter((one) => one !== "");
  if (login?.kind === "identity") {
    const form = new URLSearchParams({
      grant_type: "refresh_token",
      ...(service === undefined ? {} : { service }),
      scope: scopes.join(" "),
      client_id: "mayfly",
      refresh_token: login.refreshToken,
    });
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    return { url: realm, method: "POST", headers, body: form.toString() };
  }
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set("service", service);
  url.searchParams.delete("scope");
  for (const one of scopes) url.searchParams.append("scope", one);
  return { url, headers: login ? { authorization: `Basic ${login.basic}` } : {} };
}

/** Undefined if the answer holds no token. `askedMs` is when the service was asked: no token lives longer than from then. */
export async function readToken(answer: Answer, askedMs: number): Promise<Token | undefined> {
  const parsed = TOKEN_ANSWER.safeParse(parseJson(await answer.bytes(MAX_TOKEN_BYTES))).data;
  const value = parsed?.token || parsed?.access_token;
  if (!parsed || !value || !isHeaderSafe(value)) return undefined;
  const told = Number(parsed.expires_in);
  const seconds = told > 0 ? told : DEFAULT_TOKEN_SECONDS;
  const ageMs = ageOf(parsed.issued_at ?? "", answer.header("date") ?? "");
  // Nobody hands out a token that is over: then it is the time of issue that is wrong.
  const lifeMs = seconds * 1_000 - (ageMs < seconds * 1_000 ? ageMs : 0);
  return { value, expiresMs: askedMs + lifeMs, refreshToken: parsed.refresh_token || undefined };
}

export const isExpired = ({ expiresMs }: Pick<Token, "expiresMs">, marginMs: number) =>
  monotonicMs() >= expiresMs - marginMs;

/** A service may hand out a token that it has made before. Both times are by its own clock; ours may differ. */
function ageOf(issuedAt: string, sentAt: string): number {
  const ageMs = Date.parse(sentAt) - Date.parse(issuedAt);
  return Number.isNaN(ageMs) ? 0 : Math.max(0, ageMs);
}

function parseJson(body: Buffer | undefined): unknown {
  try {
    return JSON.parse(body?.toString("utf8") ?? "");
  } catch {
    return undefined; // The schema refuses undefined.
  }
}
