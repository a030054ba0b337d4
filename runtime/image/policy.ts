// Which images this host may run: the operator's rules on references, kept before anything is asked of a registry.
//
// A rule is a pattern on the normalised reference, such as `docker.io/library/*` or `ghcr.io/acme/**:1.*`. `*` stands for any
// characters of one component, `**` for any at all. A pattern without tag and digest is about the repository, whatever the tag.

import { MayflyError } from "../../core/errors.ts";
import { isDigest } from "../content/digest.ts";
import { type Mirrors, mirroredBy } from "../registry/mirrors.ts";
import { DEFAULT_HOST, formatReference, normalHost, type Reference, type Repository } from "./reference.ts";

export interface ImageRules {
  /** With a list, nothing else is allowed. */
  readonly allow?: readonly string[] | undefined;
  /** Wins over `allow`. */
  readonly deny?: readonly string[] | undefined;
  /** A reference has to name a digest. */
  readonly requireDigest?: boolean | undefined;
}

/** Throws `image_not_allowed`, naming the rule. */
export type ImagePolicy = (reference: Reference) => void;

/**
 * `mirrors`: what is denied of a registry is denied of its mirrors too, by whose own names the same images could be asked for.
 * `configuration_invalid` for a pattern that no reference could match.
 */
export function createImagePolicy(
  { allow, deny = [], requireDigest = false }: ImageRules,
  mirrors: Mirrors = new Map(),
): ImagePolicy {
  const denied = deny.map(ruleOf);
  const allowed = allow?.map(ruleOf);
  return (reference) => {
    const name = formatReference(reference);
    // A digest beside a tag decides, so a tag that is allowed says nothing of it; one that is denied stays denied.
    const aliases = aliasesOf(reference.repository, mirrors).flatMap((repository) =>
      formsOf({ ...reference, repository }),
    );
    const refusing = denied.find(({ matches }) => aliases.some(matches));
    if (refusing) throw notAllowed(name, `deny ${refusing.pattern}`);
    const forms = [textOf(reference), textOf({ ...reference, tag: undefined, digest: undefined })];
    if (allowed && !allowed.some(({ matches }) => forms.some(matches)))
      throw notAllowed(name, `allow ${allow?.join(",")}`);
    if (requireDigest && !reference.digest) throw notAllowed(name, "require a digest");
  };
}

interface Rule {
  readonly pattern: string;
  readonly matches: (text: string) => boolean;
}

function ruleOf(pattern: string): Rule {
  if (!isImagePattern(pattern))
    throw new MayflyError(
      "configuration_invalid",
      `${JSON.stringify(pattern)} is not ${IMAGE_PATTERN_FORM}: no reference matches it`,
    );
  const source = normalPattern(pattern).replace(/\*\*|[^*]|\*/g, (part) => {
    if (part === "**") return ".*";
    return part === "*" ? "[^/]*" : part.replace(/[\\^$.*+?()[\]{}|/-]/, "\\$&");
  });
  const expression = new RegExp(`^${source}$`);
  return { pattern, matches: (text) => expression.test(text) };
}

/** With the host as references have it, so that a rule is about a registry and not about a spelling. */
function normalPattern(pattern: string): string {
  const [host = ""] = pattern.split("/", 1);
  const normal = host.includes("*") ? host : (normalHost(host) ?? host);
  return normal.toLowerCase() + pattern.slice(host.length);
}

export const IMAGE_PATTERN_FORM = "a pattern such as docker.io/library/* or ghcr.io/acme/**:1.*";

/** Longer than any reference: a pattern is a few dozen characters. */
const MAX_PATTERN_LENGTH = 512;
/** Each may be tried at every character of a reference, and with it all that follow: with many, one reference takes seconds. */
const MAX_WILDCARDS = 4;

const HOST = /^(?:[A-Za-z0-9.*-]+|\[[0-9a-fA-F:]+\])(?::[0-9*]{1,5})?$/;
const COMPONENT = /^[a-z0-9*](?:[a-z0-9._*-]*[a-z0-9*])?$/;
const TAG = /^[A-Za-z0-9_*][A-Za-z0-9_.*-]{0,127}$/;
const DIGEST_PATTERN = /^(?:sha256:)?[0-9a-f]{0,64}\*[0-9a-f*]{0,64}$/;

/** True if some normalised reference, or some repository, could match. */
export function isImagePattern(pattern: string): boolean {
  if (pattern.length > MAX_PATTERN_LENGTH || pattern.includes("***")) return false;
  if ((pattern.match(/\*+/g)?.length ?? 0) > MAX_WILDCARDS) return false;
  const [named = "", digest, ...more] = pattern.split("@");
  const colon = named.lastIndexOf(":");
  const hasTag = colon > named.lastIndexOf("/") && named.includes("/");
  const name = hasTag ? named.slice(0, colon) : named;
  const [host = "", ...components] = name.split("/");
  if (more.length > 0 || (digest !== undefined && !isDigest(digest) && !DIGEST_PATTERN.test(digest))) return false;
  if (hasTag && !TAG.test(named.slice(colon + 1))) return false;
  if (!isHostPattern(host) || !components.every((component) => COMPONENT.test(component))) return false;
  // Docker Hub's own images have `library/` before their names.
  if (components.length === 1 && !named.includes("**") && normalHost(host) === DEFAULT_HOST) return false;
  return components.length > 0 || host.includes("**");
}

/** A normalised reference begins with a host, which is told by a dot, a port, a capital letter, or its name. */
function isHostPattern(host: string): boolean {
  return HOST.test(host) && (/[.:*[A-Z]/.test(host) || host === "localhost");
}

/** The same repository by other names: with HTTPS' own port or without it, and what it is a mirror of. */
function aliasesOf(repository: Repository, mirrors: Mirrors): Repository[] {
  return [repository, ...mirroredBy(repository, mirrors)].flatMap(({ host, path }) => {
    const bare = host.replace(/:443$/, "");
    const hosts = bare.includes(":", bare.lastIndexOf("]") + 1) ? [host] : [bare, `${bare}:443`];
    return hosts.map((one) => ({ host: one, path }));
  });
}

/** By which a denied reference could be called as well. */
function formsOf({ repository, tag, digest }: Reference): string[] {
  const both = [undefined, tag].flatMap((one) => [undefined, digest].map((other) => ({ tag: one, digest: other })));
  return both.map((named) => textOf({ repository, ...named }));
}

/** As patterns are matched: in small letters, also a host that is only told by its capitals. */
function textOf({ repository: { host, path }, tag, digest }: Reference): string {
  return formatReference({ repository: { host: host.toLowerCase(), path }, tag, digest });
}

function notAllowed(image: string, rule: string): MayflyError {
  return new MayflyError("image_not_allowed", `${image} is not allowed on this host: ${rule}`, {
    details: { image, rule },
  });
}
