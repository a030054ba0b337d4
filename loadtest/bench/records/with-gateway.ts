// A gateway and a Redis of a suite's own, and nothing that executes runs; stopped when the suite is over.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { startGateway } from "../../../infra/mayfly.ts";
import { Place } from "../../../infra/place.ts";
import { freePort } from "../../../infra/ports.ts";
import { startRedis } from "../../../infra/redis.ts";
import type { Workshop } from "../workshop.ts";
import { Records } from "./records.ts";

const PORTS = { redis: 6_590, gateway: 8_280 };
const STOP_MS = 10_000;

export interface Ground {
  readonly records: Records;
  /** Of the gateway, on loopback. */
  readonly port: number;
  readonly gatewayPid: number;
}

/** `name` is the directory's, in the workshop. */
export async function withGateway<T>(
  { directory }: Workshop,
  name: string,
  use: (ground: Ground) => Promise<T>,
): Promise<T> {
  const place = await Place.open(join(directory, name), () => {});
  let records: Records | undefined;
  try {
    const { urlFile } = await startRedis(place, await freePort(PORTS.redis));
    const port = await freePort(PORTS.gateway);
    await startGateway(place, { redisUrlFile: urlFile, env: process.env }, port);
    records = new Records(readFileSync(urlFile, "utf8").trim());
    // As it stands in the place for those who find a stack that was killed.
    const gatewayPid = Number.parseInt(readFileSync(join(place.path, "pid/gateway"), "utf8"), 10);
    return await use({ records, port, gatewayPid });
  } finally {
    records?.close();
    await place.close(() => STOP_MS);
  }
}
