// Where a registry may be asked, and where it may lead: in the clear only where that is allowed by name, and never inwards.

import { normalHost } from "../image/reference.ts";
import { isInner } from "./inner-address.ts";

export interface OriginPolicy {
  /** `scheme://host[:port]` under which a registry is asked: plain HTTP where it is allowed, else HTTPS with a certificate that is trusted. */
  originOf(host: string): string;
  /**
   * Why this URL must not be asked, that an answer of `from` led to; undefined if it may. HTTPS may; HTTP only where it is
   * allowed, and never after HTTPS; this machine and its cloud's own addresses only after a registry that is `near`.
   */
  whyNot(url: URL, from: URL): string | undefined;
  /** Is it on the loopback network, or listed? Then it is the operator's own, and may lead to any address. */
  isNear(url: URL): boolean;
}

/**
 * `insecure` lists `host` or `host:port`. A registry on it, or on the loopback network (127.0.0.0/8, ::1, localhost),
 * is spoken to over plain HTTP.
 */
export function createOriginPolicy(insecure: readonly string[]): OriginPolicy {
  const listed = new Set(insecure.map((host) => (normalHost(host) ?? host).toLowerCase()));
  const isNamed = (host: string, hostname: string) => listed.has(host) || listed.has(hostname) || isLoopback(hostname);
  const isNear = (url: URL) => isNamed(hostWithPort(url), url.hostname);
  return {
    isNear,
    originOf(host) {
      return isNamed(host, new URL(`http://${host}/`).hostname) ? `http://${host}` : `https://${host}`;
    },
    whyNot(url, from) {
      const isPlain = url.protocol === "http:" && from.protocol === "http:" && isNear(url);
      if (url.protocol !== "https:" && !isPlain) return "plain HTTP is not allowed for this host";
      const goesInwards = isInner(url.hostname) && url.origin !== from.origin && !isNear(from);
      return goesInwards ? "a registry may not send us to an address of this machine or its network link" : undefined;
    },
  };
}

/** A URL leaves HTTP's own port out, and a list may name it. */
function hostWithPort({ protocol, port, host }: URL): string {
  return protocol === "http:" && port === "" ? `${host}:80` : host;
}

/** Of a host name as `URL` normalises it, which turns every spelling of an IPv4 address into the dotted one. */
export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}
