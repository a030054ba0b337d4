// The pulling half of the OCI distribution API, of any registry and of its mirrors.
//
// What is asked for by digest and read whole has that digest, or is refused here. A blob that is streamed is checked by its reader, who
// hashes it anyway; if it is not what its digest says, `distrust` tells so, and the next `blob` asks elsewhere.

import type { Readable } from "node:stream";
import { MayflyError } from "../../core/errors.ts";
import { type Log, SILENT } from "../../core/log.ts";
import { type Digest, digestOf, isDigest } from "../content/digest.ts";
import type { Repository } from "../image/reference.ts";
import { createAuthenticator } from "./auth.ts";
import { streamOf } from "./blob-stream.ts";
import { type Credentials, NO_CREDENTIALS } from "./credentials.ts";
import { Download } from "./download.ts";
import { createEndpoint } from "./endpoint.ts";
import type { Mirrors } from "./mirrors.ts";
import { createOriginPolicy } from "./origin.ts";
import { refusalOf } from "./refusal.ts";
import { createSources, type Source } from "./sources.ts";
import { createTransport, TRANSPORT_LIMITS, type TransportLimits } from "./transport.ts";

/** What registries must accept (distribution-spec, "Pushing manifests"), so nothing larger is a manifest. */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;

/**
 * Errors of every method: `image_not_found`, `image_access_denied`, `registry_unavailable` (with `retryAfterS` where the registry
 * says when to come back), `image_unsupported` for a status that no registry should give, and those of Credentials; an aborted
 * signal rejects with its reason. They are the registry's own: a mirror that fails is logged, and the next one is asked.
 */
export interface RegistryClient {
  /**
   * The digest that a tag has now, asked for without its content, which quotas of registries do not count. Undefined where the
   * registry does not tell it so: then its manifest has to be asked for.
   */
  resolve(repository: Repository, tag: string, signal: AbortSignal): Promise<Digest | undefined>;
  /** The bytes of a manifest or index, by tag or digest. `image_corrupt` above 4 MiB, or with another digest. */
  manifest(repository: Repository, name: string, signal: AbortSignal): Promise<Buffer>;
  /** A small blob, whole. `image_corrupt` above `maxBytes`, or with another digest. */
  smallBlob(
    repository: Repository,
    digest: Digest,
    options: { maxBytes: number; signal: AbortSignal },
  ): Promise<Buffer>;
  /**
   * A blob as it comes: resolves when the registry has begun to send. Connections that are lost are made again, and the reader sees
   * one stream of at most `size` bytes. It fails with `registry_unavailable` when nobody can go on, with `image_corrupt` for more bytes
   * or another size. Its bytes are not checked. Whoever does not read it to its end destroys it, or aborts the signal.
   */
  blob(repository: Repository, blob: { digest: Digest; size: number }, signal: AbortSignal): Promise<Readable>;
  /**
   * Tells that what this stream of `blob` brought is not what its digest says. True if it came from a mirror, which is not asked
   * for this digest again for a while: then another `blob` may bring the right bytes.
   */
  distrust(blob: Readable): boolean;
}

export interface RegistryOptions {
  /** `host` or `host:port`, spoken to over plain HTTP. Loopback addresses always are. */
  readonly insecure?: readonly string[];
  readonly credentials?: Credentials;
  /** See mirrors.ts. */
  readonly mirrors?: Mirrors;
  /** A directory of certificates, see certificates.ts. */
  readonly certsDir?: string;
  /** What is not named is as in TRANSPORT_LIMITS. */
  readonly limits?: Partial<TransportLimits>;
  readonly log?: Log;
}

export function createRegistryClient(options: RegistryOptions = {}): RegistryClient {
  const { insecure = [], credentials = NO_CREDENTIALS, certsDir, log = SILENT, mirrors = new Map() } = options;
  const limits = { ...TRANSPORT_LIMITS, ...options.limits };
  const policy = createOriginPolicy(insecure);
  const transport = createTransport({ policy, limits, certsDir, log });
  const endpoint = createEndpoint({
    transport,
    policy,
    authenticator: createAuthenticator({ transport, policy, credentials }),
  });
  const sources = createSources(mirrors, log);
  const downloads = new WeakMap<Readable, { download: Download; digest: Digest }>();

  async function resolve(tag: string, { repository, isLast }: Source, signal: AbortSignal) {
    const answer = await endpoint.ask(repository, `manifests/${tag}`, { method: "HEAD", hasty: !isLast, signal });
    if (isFinal(answer.status) || (answer.status !== 200 && !isLast))
      throw await refusalOf(answer, `${repository.host}/${repository.path}: manifests/${tag}`);
    await answer.discard();
    const digest = answer.header("docker-content-digest") ?? "";
    return answer.status === 200 && isDigest(digest) ? digest : undefined;
  }

  async function whole(path: string, source: Source, { maxBytes, signal }: { maxBytes: number; signal: AbortSignal }) {
    const { repository, isLast } = source;
    const answer = await endpoint.get(repository, path, { hasty: !isLast, signal });
    const bytes = await answer.bytes(maxBytes);
    const what = `${repository.host}/${repository.path}: ${path}`;
    if (!bytes) throw new MayflyError("image_corrupt", `${what} is larger than ${maxBytes} bytes`);
    const expected = path.slice(path.indexOf("/") + 1);
    const actual = digestOf(bytes);
    if (!isDigest(expected) || actual === expected) return bytes;
    sources.lied(source, expected);
    throw new MayflyError("image_corrupt", `${what} has digest ${actual}`, { details: { expected, actual } });
  }

  return {
    resolve: (repository, tag, signal) =>
      sources.first(sources.of(repository), signal, (source) => resolve(tag, source, signal)),
    manifest: (repository, name, signal) =>
      sources.first(sources.of(repository, name), signal, (source) =>
        whole(`manifests/${name}`, source, { maxBytes: MAX_MANIFEST_BYTES, signal }),
      ),
    smallBlob: (repository, digest, small) =>
      sources.first(sources.of(repository, digest), small.signal, (source) => whole(`blobs/${digest}`, source, small)),
    async blob(repository, blob, caller) {
      const closed = new AbortController();
      const signal = AbortSignal.any([caller, closed.signal]);
      const download = new Download(blob, {
        candidates: sources.of(repository, blob.digest),
        sources,
        ask: ({ repository: place, isLast }, headers) =>
          endpoint.get(place, `blobs/${blob.digest}`, { headers, hasty: !isLast, isDownload: true, signal }),
        resumeDelayMs: limits.retryDelaysMs[0] ?? 0,
        log,
        signal,
      });
      await download.open();
      const stream = streamOf(download.bytes(), () => closed.abort(new Error("nobody reads the blob any more")));
      downloads.set(stream, { download, digest: blob.digest });
      return stream;
    },
    distrust(blob) {
      const { download, digest } = downloads.get(blob) ?? {};
      if (!download || !digest) return false;
      return [...download.contributors].map((source) => sources.lied(source, digest)).some((hasOther) => hasOther);
    },
  };
}

/** Whoever asks for the manifest itself after a HEAD is told why not, in a body; but not at the price of knocking twice. */
function isFinal(status: number): boolean {
  return status === 401 || status === 403 || status === 429 || status >= 500;
}
