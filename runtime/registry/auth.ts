// Proving who we are to a registry: Basic, and bearer tokens, which its token service gives (token.ts).
//
//   GET manifest ──▶ 401, WWW-Authenticate: Bearer realm=R,service=S,scope=C
//   token for S and C from R ──▶ T, for some seconds
//   GET manifest, Bearer T ──▶ 200
//   … T is about to expire: another one from R, before the next request

import { monotonicMs } from "../../core/clock.ts";
import { MayflyError } from "../../core/errors.ts";
import type { Repository } from "../image/reference.ts";
import { SingleFlight } from "../layer/single-flight.ts";
import type { Answer } from "./answer.ts";
import { parseChallenges } from "./challenge.ts";
import type { Credentials } from "./credentials.ts";
import type { Login } from "./login.ts";
import type { OriginPolicy } from "./origin.ts";
import { refusalOf } from "./refusal.ts";
import { isExpired, readToken, type TokenService, tokenRequest } from "./token.ts";
import { type Transport, withoutLogin } from "./transport.ts";

/** A token is not used in its last seconds, so that it does not expire on the way. */
const TOKEN_MARGIN_MS = 5_000;
/** As long as a helper's answer serves: what is older may be over, whatever was said of its life. */
const FRESH_MS = 300_000;
/** One a repository that was asked lately; the oldest goes first. */
const MAX_REMEMBERED = 512;

export interface Authenticator {
  /**
   * The `Authorization` header that this repository takes, as far as its registry has said what it wants; undefined until then.
   * A token that is about to expire is replaced first.
   */
  authorize(repository: Repository, signal: AbortSignal): Promise<string | undefined>;
  /**
   * Meets the challenge of a 401, and remembers how. Who asks at the same time shares one token.
   * `image_access_denied` when we have nothing that the registry takes; errors of Credentials.
   */
  meet(repository: Repository, refused: Answer, signal: AbortSignal): Promise<string>;
  /** What `meet` gave was refused: it is forgotten, and so is the login, where it may have changed. */
  refused(repository: Repository): void;
  /**
   * For registries that do not ask who we are where a proof is over, but forbid: true if ours is not a fresh one. Then it is
   * forgotten, as by `refused`.
   */
  mayBeOver(repository: Repository): boolean;
}

interface Proof {
  readonly authorization: string;
  readonly expiresMs: number;
  /** Where to get another; undefined for what does not expire. */
  readonly service?: TokenService & { readonly from: URL };
}

interface Remembered extends Proof {
  /** On the monotonic clock, as `expiresMs`. */
  readonly learntMs: number;
}

export interface AuthenticatorOptions {
  readonly transport: Transport;
  readonly policy: OriginPolicy;
  readonly credentials: Credentials;
}

export function createAuthenticator({ transport, policy, credentials }: AuthenticatorOptions): Authenticator {
  const memory = new Map<string, Remembered>();
  const flights = new SingleFlight<Proof>();
  /** By the refresh token that the operator gave: the one that its service has put in its place. */
  const rotated = new Map<string, string>();

  async function tokenFrom(repository: Repository, service: TokenService & { from: URL }, signal: AbortSignal) {
    const login = current(await credentials.of(repository.host, signal));
    if (login?.kind === "bearer")
      return { authorization: `Bearer ${login.token}`, expiresMs: Number.POSITIVE_INFINITY };
    const askedMs = monotonicMs();
    const { url, ...asking } = tokenRequest(service, login);
    const answer = await transport.send(url, { ...asking, from: service.from, signal });
    if (answer.status !== 200) {
      credentials.refused(repository.host);
      throw await refusalOfToken(answer, repository);
    }
    const token = await readToken(answer, askedMs);
    if (!token) throw denied(repository, "the registry's token service gives no token");
    if (login?.kind === "identity" && token.refreshToken) replace(login.refreshToken, token.refreshToken);
    return { authorization: `Bearer ${token.value}`, expiresMs: token.expiresMs, service };
  }

  function current(login: Login | undefined): Login | undefined {
    if (login?.kind !== "identity") return login;
    return { kind: "identity", refreshToken: rotated.get(login.refreshToken) ?? login.refreshToken };
  }

  function replace(used: string, next: string): void {
    const [given = used] = [...rotated].find(([, latest]) => latest === used) ?? [];
    keep(rotated, given, next);
  }

  async function answerChallenge(repository: Repository, refused: Answer, signal: AbortSignal): Promise<Proof> {
    const challenges = parseChallenges(refused.header("www-authenticate") ?? "");
    // Bearer first: a registry that offers both wants Basic only at its realm.
    const bearer = challenges.find(({ scheme }) => scheme === "bearer");
    if (bearer) return tokenFrom(repository, serviceOf(bearer.parameters, { repository, refused, policy }), signal);
    if (!challenges.some(({ scheme }) => scheme === "basic"))
      throw denied(repository, "the registry offers no way to log in");
    const login = await credentials.of(repository.host, signal);
    if (login?.kind === "basic") return { authorization: `Basic ${login.basic}`, expiresMs: Number.POSITIVE_INFINITY };
    throw denied(repository, `the registry asks for a login${login ? " with a password, and we have a token" : ""}`);
  }

  async function learn(
    repository: Repository,
    signal: AbortSignal,
    how: (signal: AbortSignal) => Promise<Proof>,
  ): Promise<string> {
    const key = keyOf(repository);
    const entry = await flights.join(key, signal, how).result;
    keep(memory, key, { ...entry, learntMs: monotonicMs() });
    return entry.authorization;
  }

  function forget(repository: Repository): void {
    memory.delete(keyOf(repository));
    credentials.refused(repository.host);
  }

  return {
    async authorize(repository, signal) {
      const known = memory.get(keyOf(repository));
      if (!known || !isExpired(known, TOKEN_MARGIN_MS)) return known?.authorization;
      const { service } = known;
      return service && learn(repository, signal, (shared) => tokenFrom(repository, service, shared));
    },
    meet: (repository, refused, signal) =>
      learn(repository, signal, (shared) => answerChallenge(repository, refused, shared)),
    refused: forget,
    mayBeOver(repository) {
      const known = memory.get(keyOf(repository));
      if (!known || monotonicMs() - known.learntMs < FRESH_MS) return false;
      forget(repository);
      return true;
    },
  };
}

function keep<T>(memory: Map<string, T>, key: string, value: T): void {
  memory.delete(key);
  memory.set(key, value);
  for (const oldest of memory.keys()) if (memory.size > MAX_REMEMBERED) memory.delete(oldest);
}

/** A token service knows users, not images: whatever it refuses is a matter of access, unless it is only out of order. */
async function refusalOfToken(answer: Answer, repository: Repository): Promise<MayflyError> {
  const refusal = await refusalOf(answer, `a token for ${repository.path}`);
  if (refusal.reason === "registry_unavailable") return refusal;
  return new MayflyError("image_access_denied", refusal.message, { details: refusal.details });
}

interface Challenged {
  readonly repository: Repository;
  readonly refused: Answer;
  readonly policy: OriginPolicy;
}

/** Some registries name no scope; then it is the one this request needs. A realm is as foreign as a redirect. */
function serviceOf(parameters: Readonly<Record<string, string>>, { repository, refused, policy }: Challenged) {
  const { realm = "", service, scope = `repository:${repository.path}:pull` } = parameters;
  if (!URL.canParse(realm)) throw denied(repository, "the registry names no token service");
  const url = withoutLogin(new URL(realm));
  const objection = policy.whyNot(url, refused.url);
  if (objection !== undefined)
    throw denied(repository, `the registry's token service at ${url.host} is not asked: ${objection}`);
  return { realm: url, service, scope, from: refused.url };
}

function keyOf({ host, path }: Repository): string {
  return `${host}/${path}`;
}

function denied({ host, path }: Repository, why: string): MayflyError {
  return new MayflyError("image_access_denied", `${host}/${path}: ${why}`, { details: { host, repository: path } });
}
