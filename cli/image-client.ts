// The images of hosts, through the gateway. Each host answers for itself: what one could not do stands in its own entry.
//
//   for await (const event of mayfly.images.pull("busybox")) if (event.kind === "layer") console.log(event.host, event.bytes);

import {
  type HostFailure,
  HostPullEvent,
  ImagesOfHosts,
  InspectionOfHosts,
  LoadedOfHosts,
  PinnedOfHosts,
  ReclaimedOfHosts,
  UsageOfHosts,
  VerifiedOfHosts,
} from "../core/images.ts";
import { isObject, parseAnswer } from "./answers.ts";
import { chunksOf } from "./body.ts";
import { interrupted, invalidAnswer } from "./client-error.ts";
import { type Call, readJson, type Send } from "./http.ts";
import { createSseParser, type SseEvent } from "./sse.ts";

/** Only this host; all that live without it. */
export interface OnHost {
  readonly host?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The names of all that are concerned, first; then what comes of each. */
type Named = { readonly hosts: readonly string[] };
export type PullProgress = Named | HostPullEvent;
export type VerifyProgress = Named | VerifiedOfHosts["hosts"][number];
export type LoadProgress = Named | LoadedOfHosts["hosts"][number];

/** Every method throws ClientError, or the reason of an aborted signal. All but `list` and `inspect` want an operator's key. */
export interface ImageClient {
  list(options?: OnHost): Promise<ImagesOfHosts>;
  usage(options?: OnHost): Promise<UsageOfHosts>;
  inspect(reference: string, options?: OnHost): Promise<InspectionOfHosts>;
  remove(reference: string, options?: OnHost): Promise<ReclaimedOfHosts>;
  pin(reference: string, pinned: boolean, options?: OnHost): Promise<PinnedOfHosts>;
  /** `unusedFor` is a duration such as `168h`; without it, whatever nothing holds. */
  prune(options?: OnHost & { unusedFor?: string | undefined }): Promise<ReclaimedOfHosts>;
  /** Ends once every host is ready or has failed; leaving early ends what only this caller wanted. */
  pull(reference: string, options?: OnHost & { pull?: "missing" | "always" | "never" }): Progress<PullProgress>;
  /** Of one image, or of all without a reference. */
  verify(options?: OnHost & { reference?: string | undefined; repair?: boolean }): Progress<VerifyProgress>;
  /** To one host if it is named, else to all. */
  load(archive: ReadableStream<Uint8Array>, options?: OnHost): Progress<LoadProgress>;
  /** The archive, as it comes. It throws in the middle if it breaks off. */
  save(references: readonly string[], options?: OnHost & { format?: "oci" | "docker" }): Progress<Uint8Array>;
}
type Progress<T> = AsyncGenerator<T, void>;

const PATH = "/v1/images";

export function createImageClient(send: Send): ImageClient {
  const ask = async (call: Call): Promise<unknown> => readJson(await send(call));
  const told = (path: string, { host, signal, ...body }: OnHost & Record<string, unknown>): Call => ({
    ...{ method: "POST", path: `${PATH}/${path}`, headers: { "content-type": "application/json" }, signal },
    body: JSON.stringify({ ...body, ...(host === undefined ? {} : { hosts: [host] }) }),
  });
  return {
    list: async ({ signal, ...query } = {}) =>
      parseAnswer(ImagesOfHosts, await ask({ method: "GET", path: PATH, query, signal })),
    usage: async ({ signal, ...query } = {}) =>
      parseAnswer(UsageOfHosts, await ask({ method: "GET", path: `${PATH}/usage`, query, signal })),
    inspect: async (reference, { host, signal } = {}) => {
      const call = { method: "GET", path: `${PATH}/inspect`, query: { reference, host }, signal } as const;
      return parseAnswer(InspectionOfHosts, await ask(call));
    },
    remove: async (reference, { host, signal } = {}) => {
      const call = { method: "DELETE", path: PATH, query: { reference, host }, signal } as const;
      return parseAnswer(ReclaimedOfHosts, await ask(call));
    },
    pin: async (reference, pinned, options) =>
      parseAnswer(PinnedOfHosts, await ask(told("pin", { ...options, reference, pinned }))),
    prune: async (options = {}) => parseAnswer(ReclaimedOfHosts, await ask(told("prune", { ...options }))),
    pull: (reference, options) => follow(send, told("pull", { ...options, reference }), parsePull),
    verify: (options = {}) => follow(send, told("verify", { ...options }), parseVerified),
    load: (archive, { host, signal } = {}) => {
      const headers = { "content-type": "application/x-tar" };
      const query = { host, all: host === undefined ? "true" : undefined };
      return follow(send, { method: "POST", path: `${PATH}/load`, query, headers, body: archive, signal }, parseLoaded);
    },
    save: (reference, { signal, ...query } = {}) =>
      save(send, { method: "GET", path: `${PATH}/save`, query: { ...query, reference }, signal }),
  };
}

const parsePull = (value: unknown) => parseAnswer(HostPullEvent, value);
const parseVerified = (value: unknown) => parseAnswer(VerifiedOfHosts.shape.hosts.element, value);
const parseLoaded = (value: unknown) => parseAnswer(LoadedOfHosts.shape.hosts.element, value);

/** Events until `end`. A stream that breaks off before is ClientError `gateway_unreachable`. */
async function* follow<T>(send: Send, call: Call, parse: (value: unknown) => T): Progress<Named | T> {
  const response = await send({ ...call, headers: { ...call.headers, accept: "text/event-stream" } });
  if (!response.headers.get("content-type")?.startsWith("text/event-stream"))
    throw invalidAnswer("the gateway's event stream is not text/event-stream", { status: response.status });
  const events = createSseParser();
  for await (const bytes of chunksOf(response)) {
    for (const event of events(bytes)) {
      if (event.name === "end") return;
      const value = dataOf(event);
      yield event.name === "hosts" ? parseNamed(value) : parse(value);
    }
  }
  throw interrupted("the gateway broke off before the end");
}

function dataOf({ name, data }: SseEvent): unknown {
  try {
    return JSON.parse(data);
  } catch (cause) {
    throw invalidAnswer(`the data of an event ${JSON.stringify(name)} is not JSON`, { cause });
  }
}

function parseNamed(value: unknown): Named {
  const hosts: unknown = isObject(value) ? value.hosts : undefined;
  if (Array.isArray(hosts) && hosts.every((host) => typeof host === "string")) return { hosts };
  throw invalidAnswer("the gateway's list of hosts is not one");
}

async function* save(send: Send, call: Call): Progress<Uint8Array> {
  yield* chunksOf(await send({ ...call, headers: { accept: "application/x-tar, application/problem+json" } }));
}

/** Entries of hosts that failed, and of those that did not. */
export function parted<T extends { host: string }>(
  entries: readonly (T | HostFailure)[],
): { readonly done: readonly T[]; readonly failed: readonly HostFailure[] } {
  const failed = entries.filter((entry): entry is HostFailure => "error" in entry);
  return { failed, done: entries.filter((entry): entry is T => !("error" in entry)) };
}
