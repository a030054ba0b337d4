// A host's record: what a worker tells of itself, renewed by its heartbeat and gone soon after the worker is.

import { z } from "zod";

/** How often a worker renews its record, and how long the record outlives the last renewal (three missed beats). */
export const HEARTBEAT_MS = 5_000;
export const HOST_TTL_MS = 16_000;

export const Capacity = z.strictObject({ cpus: z.number(), memoryBytes: z.number(), pids: z.number(), slots: z.int() });
export type Capacity = z.infer<typeof Capacity>;

/** What an operator has told a host, until it is told otherwise: to take no new runs. Without it the host takes runs. */
export const Duty = z
  .strictObject({
    toldAt: z.iso.datetime().meta({ description: "When, by Redis' clock." }),
    drainUntil: z.iso
      .datetime()
      .optional()
      .meta({ description: "When what still runs then is given up, by Redis' clock." }),
  })
  .meta({ id: "Duty" });
export type Duty = z.infer<typeof Duty>;

export const HostState = z.enum(["ready", "cordoned", "draining"]).meta({
  description: "A cordoned host takes no new runs. One that drains takes none either, and waits for those that it has.",
});

export type HostState = z.infer<typeof HostState>;

export const HostRecord = z
  .object({
    id: z.string(),
    /** Of the machine, until it is started again. */
    bootId: z.string(),
    /** Of this life of the worker: a restart is another. */
    incarnation: z.string(),
    pool: z.string(),
    version: z.string(),
    driver: z.string(),
    imagesUrl: z
      .url({ protocol: /^http$/ })
      .optional()
      .meta({ description: "Where this host answers members of its cluster about its images." }),
    state: HostState,
    duty: Duty.optional().meta({ description: "What of an operator's orders it obeys." }),
    capacity: Capacity,
    free: Capacity,
    running: z.int(),
    startedAt: z.string(),
    heartbeatAt: z.string(),
  })
  .meta({ id: "Host" });

export type HostRecord = z.infer<typeof HostRecord>;

/** How long a drain may be asked to wait, and how long it waits if nothing is said, in ms. */
export const DRAIN_BOUNDS = { min: 0, max: 24 * 3_600_000 } as const;
export const DRAIN_MS = 10 * 60_000;
