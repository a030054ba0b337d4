// Mirrors: other registries that are asked first for a registry's images, in the operator's order; the registry itself is the last.
//
//   docker.io=mirror.internal:5000/hub     docker.io/library/alpine is asked for as mirror.internal:5000/hub/library/alpine

import { MayflyError } from "../../core/errors.ts";
import { parseReference, type Repository } from "../image/reference.ts";

/** By a registry's host: where its repositories lie elsewhere. Of a mirror, `path` is a prefix, perhaps empty. */
export type Mirrors = ReadonlyMap<string, readonly Repository[]>;

/** Mirrors of one registry: each that fails costs a request's time. */
const MAX_MIRRORS_PER_HOST = 8;

/** Throws `configuration_invalid`, with every entry that is wrong. */
export function parseMirrors(entries: readonly string[]): Mirrors {
  const mirrors = new Map<string, Repository[]>();
  const wrong: string[] = [];
  for (const entry of entries) {
    const [host, mirror] = parseEntry(entry) ?? [];
    const known = mirrors.get(host ?? "") ?? [];
    if (host === undefined || mirror === undefined)
      wrong.push(`${JSON.stringify(entry)} is not HOST=MIRROR_HOST[/PREFIX]`);
    else if (known.length === MAX_MIRRORS_PER_HOST) wrong.push(`${host} has more than ${MAX_MIRRORS_PER_HOST} mirrors`);
    else mirrors.set(host, [...known, mirror]);
  }
  if (wrong.length > 0) throw new MayflyError("configuration_invalid", `registry mirrors: ${wrong.join("; ")}`);
  return mirrors;
}

/** The repository under each mirror's name, in order, without the registry itself. */
export function mirrorsOf({ host, path }: Repository, mirrors: Mirrors): Repository[] {
  return (mirrors.get(host) ?? []).map((mirror) => ({
    host: mirror.host,
    path: mirror.path === "" ? path : `${mirror.path}/${path}`,
  }));
}

/** What a repository holds that is a mirror's, by the names of the registries that it stands for. */
export function mirroredBy({ host, path }: Repository, mirrors: Mirrors): Repository[] {
  return [...mirrors].flatMap(([registry, itsMirrors]) =>
    itsMirrors
      .map((mirror) => ({ host: mirror.host, prefix: mirror.path === "" ? "" : `${mirror.path}/` }))
      .filter((mirror) => mirror.host === host && path.startsWith(mirror.prefix))
      .map(({ prefix }) => ({ host: registry, path: path.slice(prefix.length) })),
  );
}

function parseEntry(entry: string): [string, Repository] | undefined {
  const [, host = "", mirrorHost = "", prefix = ""] = /^([^=/]+)=([^=/]+)(?:\/([^=]*[^=/]))?\/?$/.exec(entry) ?? [];
  const named = repositoryOf(host, "image");
  const mirror = repositoryOf(mirrorHost, prefix === "" ? "image" : `${prefix}/image`);
  return named && mirror ? [named.host, { host: mirror.host, path: prefix }] : undefined;
}

/** A name without dot or port would be read as a part of Docker Hub's: then the path has it. */
function repositoryOf(host: string, path: string): Repository | undefined {
  try {
    const { repository } = parseReference(`${host}/${path}`);
    const isWhole = repository.path === path || repository.path === `library/${path}`;
    return isWhole ? repository : undefined;
  } catch {
    return undefined; // It is told with the whole entry.
  }
}
