// Where webhooks may be sent to. It is asked twice: of the URL when a run is accepted, and of the addresses to which a connection is
// made. A name that leads elsewhere from one moment to the next is caught by the second.

import { type LookupAddress, lookup, promises } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import { promisify } from "node:util";
import { MayflyError } from "../../core/errors.ts";
import type { Webhook } from "../../core/webhook.ts";
import type { AllowList } from "./allow-list.ts";
import { isOuter } from "./outer-addresses.ts";

/** All addresses that a name leads to. Rejects if there are none. */
export type Resolve = (name: string) => Promise<readonly LookupAddress[]>;

export class AddressRefused extends Error {}

/** How long one question to a name server may take, and how often it is asked. */
const resolver = new promises.Resolver({ timeout: 2_000, tries: 2 });

export class Destinations {
  readonly #allowed: AllowList;
  readonly #resolve: Resolve;

  constructor(allowed: AllowList, resolve: Resolve = resolverOf(allowed)) {
    this.#allowed = allowed;
    this.#resolve = resolve;
  }

  /** Throws `invalid_field` for a URL of which it is known without asking anybody that it may not be sent to. */
  admit(webhook: Webhook | undefined): void {
    const fault = webhook && this.faultOf(new URL(webhook.url));
    if (fault === undefined) return;
    const field = "webhook.url";
    throw new MayflyError("invalid_field", `${field} ${fault}`, { details: { field } });
  }

  faultOf({ protocol, hostname }: URL): string | undefined {
    const host = hostname.replace(/^\[(.*)\]$/, "$1");
    const isAllowed = this.#allowed.hasName(host) || this.#allowed.hasAddress(host);
    if (isAllowed) return undefined;
    if (protocol !== "https:") return "is not of https, and its host is not in the operator's MAYFLY_WEBHOOK_ALLOW";
    if (isIP(host) === 0 || isOuter(host)) return undefined;
    return "is an address that webhooks may not be sent to";
  }

  /** For a socket that is about to connect: the addresses of a name, or AddressRefused if any of them is not to be connected to. */
  readonly lookup: LookupFunction = (name, options, done) => {
    this.#addressesOf(name).then(
      (found) => {
        const [first] = found;
        if (options.all === true) done(null, [...found]);
        else done(null, first?.address ?? "", first?.family);
      },
      (error) => done(error, ""),
    );
  };

  async #addressesOf(name: string): Promise<readonly LookupAddress[]> {
    const found = await this.#resolve(name);
    if (this.#allowed.hasName(name)) return found;
    const isFine = ({ address }: LookupAddress) => isOuter(address) || this.#allowed.hasAddress(address);
    if (!found.every(isFine)) throw new AddressRefused(`${name} leads to an address that webhooks may not be sent to`);
    return found;
  }
}

/**
 * The operator's own names are looked up as everything on this host is. All others are asked of the name servers alone: what a host's
 * own files call something is not for callers, and `lookup` has so few threads that slow names would hold up all others.
 */
function resolverOf(allowed: AllowList): Resolve {
  return (name) => (allowed.hasName(name) ? promisify(lookup)(name, { all: true }) : ask(name));
}

async function ask(name: string): Promise<readonly LookupAddress[]> {
  const [v4, v6] = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)]);
  const found = [
    ...(v4.status === "fulfilled" ? v4.value : []).map((address) => ({ address, family: 4 })),
    ...(v6.status === "fulfilled" ? v6.value : []).map((address) => ({ address, family: 6 })),
  ];
  if (found.length === 0 && v4.status === "rejected") throw v4.reason;
  return found;
}
