// A host's record: what a worker tells of itself, renewed by its heartbeat and gone soon after the worker is.

import { z } from "zod";

/** How often a worker renews its record, and how long the record outlives the last renewal (three missed beats). */
export const HEARTBEAT_MS = 5_000;
export const HOST_TTL_MS = 16_000;

export const Capacity = z.strictObject({ cpus: z.number(), memoryBytes: z.number(), pids: z.number(), slots: z.int() });
export type Capacity = z.infer<typeof Capacity>;

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
    state: z.enum(["ready", "draining"]),
    capacity: Capacity,
    free: Capacity,
    running: z.int(),
    startedAt: z.string(),
    heartbeatAt: z.string(),
  })
  .meta({ id: "Host" });

export type HostRecord = z.infer<typeof HostRecord>;
