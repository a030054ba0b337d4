// Which hosts may be spoken to in the clear.

/** Where plain HTTP is allowed. Everything else is HTTPS with a certificate that Node trusts. */
export interface PlainHttpPolicy {
  /** `scheme://host[:port]` under which a registry is asked. */
  originOf(host: string): string;
  /** May this URL be asked, that an answer of `from` led to? HTTPS may; HTTP only where it is allowed, and never after HTTPS. */
  allows(url: URL, from: URL): boolean;
}

/**
 * `insecure` lists `host` or `host:port`. A registry on it, or on the loopback network (127.0.0.0/8, ::1, localhost),
 * is spoken to over plain HTTP.
 */
export function createPlainHttpPolicy(insecure: readonly string[]): PlainHttpPolicy {
  const listed = new Set(insecure.map((host) => host.toLowerCase()));
  const isPlain = (url: URL) => listed.has(url.host) || listed.has(url.hostname) || isLoopback(url.hostname);
  return {
    originOf(host) {
      return isPlain(new URL(`http://${host}/`)) ? `http://${host}` : `https://${host}`;
    },
    allows(url, from) {
      return url.protocol === "https:" || (url.protocol === "http:" && from.protocol === "http:" && isPlain(url));
    },
  };
}

/** Of a host name as `URL` normalises it, which turns every spelling of an IPv4 address into the dotted one. */
export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}
