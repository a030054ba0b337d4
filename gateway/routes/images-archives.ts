// POST /v1/images/load and GET /v1/images/save: images as one archive, in and out. Nothing of it is held here.

import type { Readable } from "node:stream";
import type { HttpBindings } from "@hono/node-server";
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { isMayflyError, MayflyError } from "../../core/errors.ts";
import type { HostRecord } from "../../core/host.ts";
import type { Log } from "../../core/log.ts";
import type { GatewayEnv } from "../context.ts";
import { type Hosts, LONG_WORK_MS, settled } from "../dispatch/hosts.ts";
import { ARCHIVES_PATH, limited } from "../middleware/limit-body.ts";
import { streamWork } from "./image-events.ts";
import { IMAGE_FAILURES, LoadQuery, SaveQuery, TOO_MANY } from "./image-schemas.ts";
import { problem } from "./schemas.ts";

const archive = { "application/x-tar": { schema: z.string().meta({ format: "binary" }) } };

const load = createRoute({
  method: "post",
  path: ARCHIVES_PATH,
  summary: "Load images from an archive: an OCI layout or `docker save`, plain or compressed (operators)",
  request: { query: LoadQuery, body: { required: true, content: archive } },
  responses: {
    200: {
      description:
        "Events, each with JSON data: first `hosts` {hosts}; then of each, once it is done, `host` {host, references} or {host, error}; last `end`. They begin while the archive is still being sent; a comment comes every 15 s.",
      content: { "text/event-stream": { schema: z.string() } },
    },
    413: problem("The archive is over the limit."),
    429: TOO_MANY,
    ...IMAGE_FAILURES,
  },
});

const save = createRoute({
  method: "get",
  path: "/v1/images/save",
  summary: "Images as one archive (operators)",
  request: { query: SaveQuery },
  responses: {
    200: { description: "A tar archive, from a host that has all of the images.", content: archive },
    429: TOO_MANY,
    ...IMAGE_FAILURES,
    404: problem("There is no such host, or no host has the image."),
  },
});

/** Copies to other hosts at the same time: more only share the disk of the one that has the images. */
const PARALLEL_COPIES = 2;

export function registerImageArchives(
  app: OpenAPIHono<GatewayEnv>,
  hosts: Hosts,
  { maxArchiveBytes, log }: { maxArchiveBytes: number; log: Log },
): void {
  const give = (host: HostRecord, bytes: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<string[]> => {
    const call = { method: "POST", path: "/images/load", body: bytes, answerMs: LONG_WORK_MS, signal } as const;
    return hosts.ask(host, z.array(z.string()), call);
  };
  const take = (host: HostRecord, references: readonly string[], format: string, signal: AbortSignal) => {
    const query = new URLSearchParams([["format", format], ...references.map((each) => ["reference", each])]);
    const call = { method: "GET", path: `/images/save?${query}`, answerMs: LONG_WORK_MS, signal } as const;
    return hosts.open(host, call);
  };

  app.openapi(load, async (c) => {
    const { host: name, all } = c.req.valid("query");
    const living = await hosts.living();
    const [first] = name === undefined ? byRoom(living) : await hosts.living([name]);
    if (!first) throw new MayflyError("host_unavailable", "there is no host to load the images");
    const others = all === "true" ? living.filter(({ id }) => id !== first.id) : [];
    const bytes = limited(c.req.raw.body, maxArchiveBytes);
    return streamWork(c, { hosts, log }, async (tell, signal) => {
      await tell("hosts", { hosts: [first, ...others].map(({ id }) => id) });
      const loaded = await settled(first, async () => ({ references: await give(first, bytes, signal) }));
      await tell("host", loaded);
      const copy = async (host: HostRecord) => {
        if ("error" in loaded) throw new MayflyError("host_unavailable", `host ${first.id} could not load the archive`);
        if (loaded.references.length === 0)
          throw new MayflyError("image_unsupported", "the archive names no image by which it could be copied");
        const saved = await take(first, loaded.references, "oci", signal);
        try {
          return { references: await give(host, saved, signal) };
        } finally {
          saved.destroy(); // A host that was never asked, or refuses it, has not read it.
        }
      };
      await eachOf(others, PARALLEL_COPIES, async (host) => tell("host", await settled(host, () => copy(host))));
    });
  });

  app.openapi(save, async (c) => {
    const { host, reference, format } = c.req.valid("query");
    const leave = hosts.enter();
    try {
      const chosen = await hosts.living(host === undefined ? undefined : [host]);
      const bytes = await firstOf(chosen, (each) => take(each, reference, format, c.req.raw.signal));
      bytes.once("close", leave);
      const whole = orHangUp(bytes, (error) => {
        if (!c.req.raw.signal.aborted) log.warn("images.save_failed", { id: c.get("requestId"), error });
        (c.env as Partial<HttpBindings> | undefined)?.outgoing?.destroy();
      });
      return c.body(whole, 200, {
        "content-type": "application/x-tar",
        "x-content-type-options": "nosniff",
      });
    } catch (error) {
      leave();
      throw error;
    }
  });
}

/**
 * The same bytes, no faster than they are read; what they come from is destroyed when nobody reads on, or never began to. If they fail,
 * `hangUp` is to cut the connection: an answer that merely ended would be taken for whole.
 */
function orHangUp(bytes: Readable, hangUp: (error: unknown) => void): ReadableStream<Uint8Array<ArrayBuffer>> {
  const reader = bytes[Symbol.asyncIterator]();
  return new ReadableStream(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.next();
          if (done) controller.close();
          else controller.enqueue(value);
        } catch (error) {
          hangUp(error);
          controller.close();
        }
      },
      cancel: () => void bytes.destroy(),
    },
    { highWaterMark: 0 },
  );
}

/** Those that can be asked and take runs first, and of them the one that has the fewest. */
function byRoom(hosts: readonly HostRecord[]): HostRecord[] {
  const rank = ({ state, running, imagesUrl }: HostRecord) =>
    state === "ready" && imagesUrl !== undefined ? running : Number.MAX_SAFE_INTEGER;
  return hosts.toSorted((a, b) => rank(a) - rank(b));
}

/** From the first host that has it; another failure than that it has it not is told only if no host has it. */
async function firstOf(hosts: readonly HostRecord[], take: (host: HostRecord) => Promise<Readable>): Promise<Readable> {
  let failure: unknown;
  for (const host of hosts) {
    try {
      return await take(host);
    } catch (error) {
      const isAbsent = isMayflyError(error) && error.reason === "image_not_present";
      failure = isAbsent ? (failure ?? error) : error;
    }
  }
  throw failure ?? new MayflyError("host_unavailable", "there is no host to save the images");
}

async function eachOf<T>(items: readonly T[], limit: number, work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items];
  const lane = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: limit }, lane));
}
