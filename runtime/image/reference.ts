// Image references: what users write ("alpine", "ghcr.io/a/b:1@sha256:…") and the one normal form of each.
//
// Grammar: distribution-spec ("Pulling manifests") for names and tags, and Docker's reading of the first component as a host.

import { MayflyError } from "../../core/errors.ts";
import { type Digest, isDigest } from "../content/digest.ts";

/** Where an image's content is asked for. */
export interface Repository {
  /** `host[:port]` as users name it; see `apiHost` for the host that answers. */
  readonly host: string;
  /** `library/alpine`. */
  readonly path: string;
}

/** At least one of tag and digest is there; when both are, the digest decides and the tag is for people. */
export interface Reference {
  readonly repository: Repository;
  readonly tag: string | undefined;
  readonly digest: Digest | undefined;
}

export const DEFAULT_HOST = "docker.io";
/** Under all of these Docker Hub answers with the same images; references have only the first. */
const HUB_HOSTS = [DEFAULT_HOST, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];
const DEFAULT_NAMESPACE = "library";
const DEFAULT_TAG = "latest";

/** Docker's own limit for a whole name; the specification asks clients to stay below it. */
const MAX_NAME_LENGTH = 255;

/** A name, a tag and a digest with their separators: what is longer is refused before any pattern looks at it. */
const MAX_REFERENCE_LENGTH = MAX_NAME_LENGTH + ":".length + 128 + "@sha256:".length + 64;

const HOST_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?";
const HOST = new RegExp(`^(?:${HOST_LABEL}(?:\\.${HOST_LABEL})*|\\[[0-9a-fA-F:]+\\])(?::[0-9]{1,5})?$`);
const PATH_COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

/** Throws `invalid_reference`, saying which part is wrong. */
export function parseReference(text: string): Reference {
  if (text.length > MAX_REFERENCE_LENGTH) throw invalid(text, `it has more than ${MAX_REFERENCE_LENGTH} characters`);
  const [named, digest] = splitDigest(text);
  const [name, tag] = splitTag(text, named);
  const repository = parseName(text, name);
  return { repository, tag: tag ?? (digest ? undefined : DEFAULT_TAG), digest };
}

/** `host/path[:tag][@digest]`. Parsing it again gives the same reference. */
export function formatReference({ repository, tag, digest }: Reference): string {
  return `${repository.host}/${repository.path}${tag ? `:${tag}` : ""}${digest ? `@${digest}` : ""}`;
}

/** Docker Hub's API answers under another name than its images carry. */
export function apiHost(host: string): string {
  return host === DEFAULT_HOST ? "registry-1.docker.io" : host;
}

function splitDigest(text: string): [string, Digest | undefined] {
  const at = text.indexOf("@");
  if (at < 0) return [text, undefined];
  const digest = text.slice(at + 1);
  if (!isDigest(digest)) throw invalid(text, "a digest is sha256: and 64 hexadecimal digits in lower case");
  return [text.slice(0, at), digest];
}

/** A colon before the last slash belongs to a port. */
function splitTag(text: string, named: string): [string, string | undefined] {
  const colon = named.lastIndexOf(":");
  if (colon < 0 || colon < named.lastIndexOf("/")) return [named, undefined];
  const tag = named.slice(colon + 1);
  if (!TAG.test(tag))
    throw invalid(text, "a tag is up to 128 letters, digits, '_', '.' and '-', and starts with no '.' or '-'");
  return [named.slice(0, colon), tag];
}

function parseName(text: string, name: string): Repository {
  const slash = name.indexOf("/");
  const first = name.slice(0, Math.max(slash, 0));
  if (!looksLikeHost(first)) return repositoryOf(text, DEFAULT_HOST, name);
  const host = normalHost(first);
  if (host === undefined) throw invalid(text, "the registry is not a host name with an optional port");
  return repositoryOf(text, host, name.slice(slash + 1));
}

/**
 * The one spelling of a registry's host, so that no rule, login or record is about another: small letters, an address in its usual form,
 * a port without zeros before it, and one name for Docker Hub. Undefined for what is no host with an optional port.
 */
export function normalHost(host: string): string | undefined {
  const url = HOST.test(host) ? URL.parse(`https://${host}/`) : null;
  if (!url) return undefined;
  const port = /:(\d+)$/.exec(host)?.[1];
  if (HUB_HOSTS.includes(url.host)) return DEFAULT_HOST;
  // Without dot and port it is a host only by its capital letters, and one of many spellings all the same.
  const name = port !== undefined || looksLikeHost(url.hostname) ? url.hostname : url.hostname.toUpperCase();
  return port === undefined ? name : `${name}:${Number(port)}`;
}

/** Docker's rule: what has a dot, a port or a capital letter, or is `localhost`, cannot be a user's name. */
function looksLikeHost(first: string): boolean {
  return /[.:]/.test(first) || first === "localhost" || first !== first.toLowerCase();
}

function repositoryOf(text: string, host: string, path: string): Repository {
  const full = host === DEFAULT_HOST && path !== "" && !path.includes("/") ? `${DEFAULT_NAMESPACE}/${path}` : path;
  if (!full.split("/").every((component) => PATH_COMPONENT.test(component))) {
    throw invalid(text, "a repository is lower-case letters and digits, separated by '.', '_', '__', '-' or '/'");
  }
  if (host.length + 1 + full.length > MAX_NAME_LENGTH)
    throw invalid(text, `a name has at most ${MAX_NAME_LENGTH} characters`);
  return { host, path: full };
}

function invalid(text: string, why: string): MayflyError {
  const reference = text.slice(0, MAX_REFERENCE_LENGTH);
  return new MayflyError("invalid_reference", `not an image reference: ${JSON.stringify(reference)}: ${why}`, {
    details: { reference },
  });
}
