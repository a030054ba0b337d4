// What the name of a receiver leads to.

import { type LookupAddress, lookup, promises } from "node:dns";
import { promisify } from "node:util";
import type { AllowList } from "./allow-list.ts";

/** All addresses that a name leads to. Rejects if there are none. */
export type Resolve = (name: string) => Promise<readonly LookupAddress[]>;

/** How long one question to a name server may take, and how often it is asked. */
const PATIENCE = { timeout: 2_000, tries: 2 } as const;

/**
 * The operator's own names are looked up as everything on this host is. All others are asked of the name servers alone: what a host's
 * own files call something is not for callers, and `lookup` has so few threads that slow names would hold up all others.
 */
export function resolverFor(allowed: AllowList, servers?: readonly string[]): Resolve {
  const resolver = new promises.Resolver(PATIENCE);
  if (servers) resolver.setServers(servers);
  return (name) => (allowed.hasName(name) ? promisify(lookup)(name, { all: true }) : ask(resolver, name));
}

async function ask(resolver: promises.Resolver, name: string): Promise<readonly LookupAddress[]> {
  const [v4, v6] = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)]);
  const found = [
    ...(v4.status === "fulfilled" ? v4.value : []).map((address) => ({ address, family: 4 })),
    ...(v6.status === "fulfilled" ? v6.value : []).map((address) => ({ address, family: 6 })),
  ];
  if (found.length === 0 && v4.status === "rejected") throw v4.reason;
  return found;
}
