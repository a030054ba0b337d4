// Addresses that only programs of this machine, or of its cloud, are meant to reach. A registry out in the world may not send us there:
// what answers on them (the cloud's metadata at 169.254.169.254, services on loopback) trusts whoever asks.

import { type LookupAddress, lookup } from "node:dns";
import { BlockList, isIP, type LookupFunction } from "node:net";

/**
 * RFC 6890's loopback, link-local and "this network", in both families, their NAT64 forms, and what clouds chose besides for their
 * metadata: Alibaba, Azure (its wire server), AWS and Google in IPv6.
 */
const INNER = new BlockList();
for (const [net, bits] of [
  ["0.0.0.0", 8],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["100.100.100.200", 32],
  ["168.63.129.16", 32],
] as const)
  INNER.addSubnet(net, bits, "ipv4");
for (const [net, bits] of [
  ["::", 127],
  ["fe80::", 10],
  ["64:ff9b::", 104],
  ["64:ff9b::7f00:0", 104],
  ["64:ff9b::a9fe:0", 112],
  ["fd00:ec2::254", 128],
  ["fd20:ce::254", 128],
] as const)
  INNER.addSubnet(net, bits, "ipv6");

/** Of a host name as `URL` normalises it: an address, in brackets if it is of IPv6, or a name that always means this machine. */
export function isInner(hostname: string): boolean {
  if (hostname === "localhost" || hostname.endsWith(".localhost")) return true;
  const address = hostname.replace(/^\[(.*)\]$/, "$1");
  const family = isIP(address);
  return family !== 0 && INNER.check(address, family === 6 ? "ipv6" : "ipv4");
}

/** As `dns.lookup`, but a name that leads to an inner address leads nowhere. Addresses themselves are never looked up. */
export const outerLookup: LookupFunction = (hostname, options, done) => {
  lookup(hostname, { ...options, all: true }, (error, found) => {
    if (error) return done(error, "");
    const inner = found.find(({ address }) => isInner(address));
    if (inner) return done(new Error(`${hostname} is ${inner.address}, where a registry may not send us`), "");
    answer(found, options.all === true, done);
  });
};

function answer(found: LookupAddress[], isAll: boolean, done: Parameters<LookupFunction>[2]): void {
  const [first] = found;
  if (isAll) done(null, found);
  else done(null, first?.address ?? "", first?.family);
}
