// The pulling half of the OCI distribution API. Returns bytes as the registry gave them: digests are checked by the caller,
// who knows what was asked for.

import { MayflyError } from "../../core/errors.ts";
import type { Digest } from "../content/digest.ts";
import { apiHost, type Repository } from "../image/reference.ts";
import type { Answer } from "./answer.ts";
import { createAuthenticator } from "./auth.ts";
import { type Credentials, NO_CREDENTIALS } from "./credentials.ts";
import { createPlainHttpPolicy } from "./origin.ts";
import { refusalOf } from "./refusal.ts";
import { createTransport, type Headings, TRANSPORT_LIMITS, type TransportLimits } from "./transport.ts";

/** What registries must accept (distribution-spec, "Pushing manifests"), so nothing larger is a manifest. */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;

const MANIFEST_TYPES = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.docker.distribution.manifest.v2+json",
].join(", ");

/**
 * Errors of every method: `image_not_found`, `image_access_denied`, `registry_unavailable`, `image_unsupported` for a status
 * that no registry should give; an aborted signal rejects with its reason.
 */
export interface RegistryClient {
  /** The bytes of a manifest or index, by tag or digest. `image_corrupt` above 4 MiB. */
  manifest(repository: Repository, name: string, signal: AbortSignal): Promise<Buffer>;
  /** A small blob, whole. `image_corrupt` above `maxBytes`. */
  smallBlob(
    repository: Repository,
    digest: Digest,
    options: { maxBytes: number; signal: AbortSignal },
  ): Promise<Buffer>;
  /** A blob as it comes: resolves when the registry has begun to send. A connection lost on the way is `registry_unavailable`. */
  blob(repository: Repository, digest: Digest, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
}

export interface RegistryOptions {
  /** `host` or `host:port`, spoken to over plain HTTP. Loopback addresses always are. */
  readonly insecure?: readonly string[];
  readonly credentials?: Credentials;
  readonly limits?: TransportLimits;
}

export function createRegistryClient(options: RegistryOptions = {}): RegistryClient {
  const policy = createPlainHttpPolicy(options.insecure ?? []);
  const transport = createTransport(policy, options.limits ?? TRANSPORT_LIMITS);
  const authenticator = createAuthenticator(transport, policy, options.credentials ?? NO_CREDENTIALS);

  async function get(repository: Repository, path: string, signal: AbortSignal): Promise<Answer> {
    const url = new URL(`${policy.originOf(apiHost(repository.host))}/v2/${repository.path}/${path}`);
    const ask = (authorization: string | undefined) => transport.get(url, headersOf(authorization), signal);
    const first = await ask(authenticator.remembered(repository));
    const answer = isChallenge(first, url) ? await ask(await meet(repository, first, signal)) : first;
    if (answer.status === 200) return answer;
    throw await refusalOf(answer, `${repository.host}/${repository.path}: ${path}`);
  }

  async function meet(repository: Repository, refused: Answer, signal: AbortSignal): Promise<string> {
    await refused.discard();
    return authenticator.meet(repository, refused, signal);
  }

  async function whole(repository: Repository, path: string, options: { maxBytes: number; signal: AbortSignal }) {
    const bytes = await (await get(repository, path, options.signal)).bytes(options.maxBytes);
    if (bytes) return bytes;
    throw new MayflyError(
      "image_corrupt",
      `${repository.host}/${repository.path}: ${path} is larger than ${options.maxBytes} bytes`,
    );
  }

  return {
    manifest: (repository, name, signal) =>
      whole(repository, `manifests/${name}`, { maxBytes: MAX_MANIFEST_BYTES, signal }),
    smallBlob: (repository, digest, small) => whole(repository, `blobs/${digest}`, small),
    blob: async (repository, digest, signal) => (await get(repository, `blobs/${digest}`, signal)).chunks(),
  };
}

function headersOf(authorization: string | undefined): Headings {
  return { accept: `${MANIFEST_TYPES}, */*`, ...(authorization === undefined ? {} : { authorization }) };
}

/** Only the registry itself may ask who we are: what it redirected to would get its credentials otherwise. */
function isChallenge(answer: Answer, asked: URL): boolean {
  return answer.status === 401 && answer.url.origin === asked.origin;
}
