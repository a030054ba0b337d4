// What an operator allows webhooks to be sent to besides the addresses that are out in the world: an address such as `10.1.2.3`, a network
// such as `10.0.0.0/8` or `fd00::/8`, or the name of a host such as `hooks.internal`.

import { BlockList, isIP } from "node:net";

export interface AllowList {
  /** Of an address; one of IPv6 that stands for one of IPv4 is that one. */
  readonly hasAddress: (address: string) => boolean;
  /** Of a name as `URL` has it, in lower case. What it leads to is then not looked at. */
  readonly hasName: (name: string) => boolean;
}

export const ALLOW_FORM = "addresses, networks such as 10.0.0.0/8 or names of hosts, separated by commas";

const NAME = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/;

/** Undefined if any entry is none of these: what was mistyped must not allow something else. */
export function parseAllowList(text: string): AllowList | undefined {
  const addresses = new BlockList();
  const names = new Set<string>();
  for (const entry of text.split(",").map((each) => each.trim().toLowerCase())) {
    if (addNetwork(addresses, entry)) continue;
    // Digits and dots alone are an address that was mistyped.
    if (!NAME.test(entry) || /^[\d.]+$/.test(entry)) return undefined;
    names.add(entry);
  }
  return {
    hasAddress: (address) => isIP(address) !== 0 && addresses.check(address, isIP(address) === 6 ? "ipv6" : "ipv4"),
    hasName: (name) => names.has(name),
  };
}

export const ALLOW_NOTHING: AllowList = { hasAddress: () => false, hasName: () => false };

function addNetwork(list: BlockList, entry: string): boolean {
  const { net = "", bits } = /^(?<net>[^/%]+)(?:\/(?<bits>\d{1,3}))?$/.exec(entry)?.groups ?? {};
  const family = isIP(net);
  const width = family === 6 ? 128 : 32;
  if (family === 0 || Number(bits ?? 0) > width) return false;
  list.addSubnet(net, Number(bits ?? width), family === 6 ? "ipv6" : "ipv4");
  return true;
}
