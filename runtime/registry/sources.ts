// Where the content of a repository is asked for, one after the other: mirrors that work, then the registry itself.

import { isMayflyError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import type { Digest } from "../content/digest.ts";
import type { Repository } from "../image/reference.ts";
import { type Mirrors, mirrorsOf } from "./mirrors.ts";
import { Until } from "./until.ts";

/** A mirror that did not answer is left out for this long: it would cost each request its time. */
const MIRROR_REST_MS = 30_000;

/** A mirror that has sent other bytes than a digest names is not asked for that digest again before it had time to be put right. */
const MISTRUST_MS = 600_000;

export interface Source {
  readonly repository: Repository;
  /** There is none after it: what it cannot do, cannot be done. */
  readonly isLast: boolean;
}

export interface Sources {
  /** Never empty; the registry itself is the last. A mirror that rests, or has lied about this digest, is left out. */
  of(repository: Repository, digest?: string): readonly Source[];
  /** Asks one after the other until one gives an answer; rejects with the registry's own error. */
  first<T>(sources: readonly Source[], signal: AbortSignal, ask: (source: Source) => Promise<T>): Promise<T>;
  /** Tells that a mirror failed, before the next is asked. Rethrows what is no failure of a mirror. */
  failed(source: Source, error: unknown, signal: AbortSignal): void;
  /** Tells that what came from here is not what its digest says. False for a registry itself: nobody else can be asked. */
  lied(source: Source, digest: Digest): boolean;
}

export function createSources(mirrors: Mirrors, log: Log): Sources {
  const resting = new Until();
  const mistrusted = new Until();
  const liarOf = ({ host, path }: Repository, digest: string) => `${host}/${path}@${digest}`;
  const isUsable = (mirror: Repository, digest: string) =>
    resting.leftMs(mirror.host) === 0 && mistrusted.leftMs(liarOf(mirror, digest)) === 0;

  function failed(source: Source, error: unknown, signal: AbortSignal): void {
    if (signal.aborted) throw signal.reason;
    if (source.isLast || !isMayflyError(error)) throw error;
    const { host, path } = source.repository;
    if (error.reason === "registry_unavailable") resting.set(host, MIRROR_REST_MS);
    // What a mirror does not have is no fault of its own.
    if (error.reason !== "image_not_found")
      log.warn("registry.mirror_failed", { mirror: host, repository: path, error });
  }

  return {
    failed,
    of: (repository, digest = "") => [
      ...mirrorsOf(repository, mirrors)
        .filter((mirror) => isUsable(mirror, digest))
        .map((mirror) => ({ repository: mirror, isLast: false })),
      { repository, isLast: true },
    ],
    async first(sources, signal, ask) {
      for (const source of sources) {
        try {
          return await ask(source);
        } catch (error) {
          failed(source, error, signal);
        }
      }
      throw new Error("no source is the last");
    },
    lied({ repository, isLast }, digest) {
      if (isLast) return false;
      mistrusted.set(liarOf(repository, digest), MISTRUST_MS);
      log.warn("registry.mirror_lied", { mirror: repository.host, repository: repository.path, digest });
      return true;
    },
  };
}
