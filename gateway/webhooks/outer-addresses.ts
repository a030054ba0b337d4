// Which addresses are out in the world. A gateway sends a webhook wherever its caller says: to nothing that is only reached from
// where the gateway stands (its own machine, its network, the cloud's metadata) and trusts whoever asks.

import { BlockList, isIP } from "node:net";

/** IANA's registry of special-purpose IPv4 addresses, and multicast: https://www.iana.org/assignments/iana-ipv4-special-registry */
const INNER_V4 = [
  ["0.0.0.0", 8], // "this network"
  ["10.0.0.0", 8], // private
  ["100.64.0.0", 10], // shared by a carrier's customers
  ["127.0.0.0", 8], // loopback
  ["169.254.0.0", 16], // link-local, and the metadata of clouds
  ["172.16.0.0", 12], // private
  ["192.0.0.0", 24], // protocol assignments
  ["192.0.2.0", 24], // documentation
  ["192.88.99.0", 24], // relays of 6to4
  ["192.168.0.0", 16], // private
  ["198.18.0.0", 15], // benchmarks
  ["198.51.100.0", 24], // documentation
  ["203.0.113.0", 24], // documentation
  ["224.0.0.0", 4], // multicast
  ["240.0.0.0", 4], // reserved, and broadcast
] as const;

/** All of IPv6 that is given out to be reached; loopback, link-local, private, multicast and what stands for an IPv4 address are not in it. */
const OUTER_V6 = ["2000::", 3] as const;

/** What is in that and means something else: https://www.iana.org/assignments/iana-ipv6-special-registry */
const INNER_V6 = [
  ["2001::", 23], // protocol assignments, Teredo among them
  ["2001:db8::", 32], // documentation
  ["2002::", 16], // 6to4, which carries an IPv4 address
  ["3fff::", 20], // documentation
] as const;

const innerV4 = listOf(INNER_V4, "ipv4");
const outerV6 = listOf([OUTER_V6], "ipv6");
const innerV6 = listOf(INNER_V6, "ipv6");

/** False for what is no address, too. */
export function isOuter(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return !innerV4.check(address, "ipv4");
  return family === 6 && outerV6.check(address, "ipv6") && !innerV6.check(address, "ipv6");
}

function listOf(networks: readonly (readonly [net: string, bits: number])[], family: "ipv4" | "ipv6"): BlockList {
  const list = new BlockList();
  for (const [net, bits] of networks) list.addSubnet(net, bits, family);
  return list;
}
