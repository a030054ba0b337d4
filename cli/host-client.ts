// The hosts of a cluster, through the gateway, for operators: who lives, and who is to take no new runs.

import { z } from "zod";
import { HostRecord } from "../core/host.ts";
import { parseAnswer } from "./answers.ts";
import { type Call, readJson, type Send } from "./http.ts";
import { pause } from "./patience.ts";

interface Aborting {
  readonly signal?: AbortSignal | undefined;
}

/** Every method throws ClientError, or the reason of an aborted signal. All of them want an operator's key. */
export interface HostClient {
  /** Those that live, by name, as they told of themselves some seconds ago. */
  list(options?: Aborting): Promise<readonly HostRecord[]>;
  get(id: string, options?: Aborting): Promise<HostRecord>;
  /** It takes no new runs from now on, also if its worker is started again. Safe to repeat. */
  cordon(id: string, options?: Aborting): Promise<HostRecord>;
  uncordon(id: string, options?: Aborting): Promise<HostRecord>;
  /** Cordons it. What still runs after `timeout`, a duration such as `10m`, is given up. Resolves as soon as it drains. */
  drain(id: string, options?: Aborting & { timeout?: string | undefined }): Promise<HostRecord>;
  /** Resolves when it drains no longer: it is `cordoned` and has no runs, or somebody has uncordoned it. */
  drained(id: string, options?: Aborting): Promise<HostRecord>;
}

/** Between two looks at a host that drains. */
const LOOK_MS = 500;

const HostList = z.object({ hosts: z.array(HostRecord) });

export function createHostClient(send: Send): HostClient {
  const ask = async (call: Call) => parseAnswer(HostRecord, await readJson(await send(call)));
  const get: HostClient["get"] = (id, { signal } = {}) => ask({ method: "GET", path: pathOf(id), signal });
  // Telling a host twice what it is to be is the same as telling it once.
  const tell = (id: string, verb: string, signal: AbortSignal | undefined) =>
    ask({ method: "POST", path: pathOf(id, verb), signal, isRepeatable: true });
  return {
    get,
    list: async ({ signal } = {}) =>
      parseAnswer(HostList, await readJson(await send({ method: "GET", path: "/v1/hosts", signal }))).hosts,
    cordon: (id, { signal } = {}) => tell(id, "cordon", signal),
    uncordon: (id, { signal } = {}) => tell(id, "uncordon", signal),
    drain: (id, { signal, timeout } = {}) => {
      const headers = { "content-type": "application/json" };
      const body = JSON.stringify({ timeout });
      return ask({ method: "POST", path: pathOf(id, "drain"), headers, body, signal });
    },
    async drained(id, { signal } = {}) {
      for (;;) {
        const host = await get(id, { signal });
        if (host.state !== "draining") return host;
        await pause(LOOK_MS, signal);
      }
    },
  };
}

const pathOf = (id: string, verb?: string): string =>
  ["/v1/hosts", encodeURIComponent(id), ...(verb === undefined ? [] : [verb])].join("/");
