// One registry's routes, asked with whatever proof of ourselves it wants.

import { apiHost, type Repository } from "../image/reference.ts";
import type { Answer } from "./answer.ts";
import type { Authenticator } from "./auth.ts";
import type { OriginPolicy } from "./origin.ts";
import { refusalOf } from "./refusal.ts";
import type { Headings, Request, Transport } from "./transport.ts";

const MANIFEST_TYPES = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.docker.distribution.manifest.v2+json",
].join(", ");

export interface Question {
  readonly method?: "GET" | "HEAD";
  /** Besides those of every request. */
  readonly headers?: Headings;
  readonly hasty?: boolean;
  readonly isDownload?: boolean;
  readonly signal: AbortSignal;
}

export interface Endpoint {
  /** Whatever the registry answers, once it is content with who we are. Errors: those of Transport and Authenticator. */
  ask(repository: Repository, path: string, question: Question): Promise<Answer>;
  /** An answer with the status 200 or 206; every other is an error (refusal.ts). */
  get(repository: Repository, path: string, question: Question): Promise<Answer>;
}

export interface EndpointOptions {
  readonly transport: Transport;
  readonly authenticator: Authenticator;
  readonly policy: OriginPolicy;
}

export function createEndpoint({ transport, authenticator, policy }: EndpointOptions): Endpoint {
  async function ask(repository: Repository, path: string, question: Question): Promise<Answer> {
    const { signal } = question;
    const url = new URL(`${policy.originOf(apiHost(repository.host))}/v2/${repository.path}/${path}`);
    const send = (authorization: string | undefined) => transport.send(url, requestOf(question, authorization));
    const first = await send(await authenticator.authorize(repository, signal));
    if (isForbidden(first, url) && authenticator.mayBeOver(repository)) {
      await first.discard();
      return ask(repository, path, question); // Only once: what is learnt now is fresh.
    }
    if (!isChallenge(first, url)) return first;
    await first.discard();
    const answer = await send(await authenticator.meet(repository, first, signal));
    if (isChallenge(answer, url)) authenticator.refused(repository);
    return answer;
  }

  return {
    ask,
    async get(repository, path, question) {
      const answer = await ask(repository, path, question);
      if (answer.status === 200 || answer.status === 206) return answer;
      throw await refusalOf(answer, `${repository.host}/${repository.path}: ${path}`);
    },
  };
}

function requestOf({ headers, ...question }: Question, authorization: string | undefined): Request {
  const proof = authorization === undefined ? {} : { authorization };
  return { ...question, headers: { accept: `${MANIFEST_TYPES}, */*`, ...headers, ...proof } };
}

/** What Amazon's registries answer to a login (403), or a token (400), that is over. */
function isForbidden(answer: Answer, asked: URL): boolean {
  return (answer.status === 403 || answer.status === 400) && answer.url.origin === asked.origin;
}

/** Only the registry itself may ask who we are: what it redirected to would get its credentials otherwise. */
function isChallenge(answer: Answer, asked: URL): boolean {
  return answer.status === 401 && answer.url.origin === asked.origin;
}
