// Where webhooks may be sent to. It is asked twice: of the URL when a run is accepted, and of the addresses to which a connection is
// made. A name that leads elsewhere from one moment to the next is caught by the second.

import type { LookupAddress } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import { MayflyError } from "../../core/errors.ts";
import type { Webhook } from "../../core/webhook.ts";
import type { AllowList } from "./allow-list.ts";
import { type Resolve, resolverFor } from "./names.ts";
import { isOuter } from "./outer-addresses.ts";

/** A name leads to an address that is not to be connected to. */
export class AddressRefused extends Error {}
/** A name leads nowhere, or nobody could be asked. */
export class NameUnknown extends Error {}

export class Destinations {
  readonly #allowed: AllowList;
  readonly #resolve: Resolve;

  constructor(allowed: AllowList, resolve: Resolve = resolverFor(allowed)) {
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

  /** For a socket that is about to connect: the addresses of a name, or AddressRefused if any of them is not to be connected to; or NameUnknown. */
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
    const found = await this.#resolve(name).catch((cause) => {
      throw new NameUnknown(`${name} leads nowhere`, { cause });
    });
    if (this.#allowed.hasName(name)) return found;
    const isFine = ({ address }: LookupAddress) => isOuter(address) || this.#allowed.hasAddress(address);
    if (!found.every(isFine)) throw new AddressRefused(`${name} leads to an address that webhooks may not be sent to`);
    return found;
  }
}
