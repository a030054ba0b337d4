// The connections: kept open between requests, a bounded number to each server, with the certificates that are meant for it.

import { Agent, type Dispatcher } from "undici";
import { readCertificates } from "./certificates.ts";
import { outerLookup } from "./inner-address.ts";

/** To one server at the same time, as `transport.ts` bounds them: the layers of a handful of images, and what is asked before them. */
export const MAX_CONNECTIONS_PER_ORIGIN = 24;

/** An idle connection is kept for the next layer, and closed before servers' own limits (from 5 s) make that a race. */
const KEEP_ALIVE_MS = 4_000;

/** Until a connection stands. The request's own limit is over first, mostly; this one closes the socket that it leaves behind. */
const CONNECT_MS = 15_000;

/** Hosts whose certificates have been looked for; the oldest is looked for again. */
const MAX_HOSTS = 256;

export interface Route {
  /** Names that lead to inner addresses (inner-address.ts) lead nowhere. */
  readonly outwards: boolean;
  /** Another server led here: our certificate is not shown, or that server could have us fetch what only we may see. */
  readonly led: boolean;
}

export interface Agents {
  /** `registry_unavailable` for unusable certificates. */
  to(host: string, route: Route): Promise<Dispatcher>;
  /** Certificates of the host are read again for its next request: they may have been put right. */
  forget(host: string): void;
}

/** Agents for each host with certificates of its own, and common ones for all others. */
export function createAgents(certsDir: string | undefined): Agents {
  const common = agentsWith({});
  const ofHosts = new Map<string, Promise<{ known: AgentPair; led: AgentPair }>>();
  const find = async (host: string) => {
    const certificates = certsDir === undefined ? undefined : await readCertificates(certsDir, host);
    if (!certificates) return { known: common, led: common };
    const { ca } = certificates;
    return { known: agentsWith(certificates), led: ca === undefined ? common : agentsWith({ ca }) };
  };
  return {
    async to(host, { outwards, led }) {
      const found = ofHosts.get(host) ?? find(host);
      ofHosts.set(host, found);
      // One that is dropped needs no closing: its idle connections end by themselves, and hold up no process.
      for (const oldest of ofHosts.keys()) if (ofHosts.size > MAX_HOSTS) ofHosts.delete(oldest);
      const agents = await found.catch((error: unknown) => {
        ofHosts.delete(host);
        throw error;
      });
      const pair = led ? agents.led : agents.known;
      return outwards ? pair.outwards : pair.near;
    },
    forget: (host) => void ofHosts.delete(host),
  };
}

interface AgentPair {
  readonly near: Agent;
  readonly outwards: Agent;
}

function agentsWith(connect: object): AgentPair {
  return { near: agentWith(connect), outwards: agentWith({ ...connect, lookup: outerLookup }) };
}

/** The time limits of requests are the transport's: those of the agent are switched off. */
function agentWith(connect: object): Agent {
  return new Agent({
    connections: MAX_CONNECTIONS_PER_ORIGIN,
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: KEEP_ALIVE_MS,
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: { timeout: CONNECT_MS, ...connect },
  });
}
