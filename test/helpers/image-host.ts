// A host that is only its image service: a record in Redis, and images that are only told of.
//
//   const host = await startImageHost(redis, "host-a");
//   host.images.add("busybox:1");
//   await host.stop();

import type { Redis } from "ioredis";
import { HOST_TTL_MS, type HostRecord } from "../../core/host.ts";
import { ClusterSecret } from "../../core/host-token.ts";
import { keys } from "../../core/keys.ts";
import { SILENT } from "../../core/log.ts";
import { type ImageService, startImageService } from "../../worker/images/server.ts";
import { createFakeImages, type FakeImages } from "./fake-image-admin.ts";

export interface ImageHost {
  readonly id: string;
  readonly images: FakeImages;
  readonly service: ImageService;
  /** Its record goes, and its service with it. Idempotent. */
  stop(): Promise<void>;
}

const ROOM = { cpus: 1, memoryBytes: 1, pids: 1, slots: 1 };

export interface ImageHostOptions {
  readonly record?: Partial<HostRecord>;
  readonly maxArchiveBytes?: number;
}

export async function startImageHost(redis: Redis, id: string, options: ImageHostOptions = {}): Promise<ImageHost> {
  const { record = {}, maxArchiveBytes = 1_000_000_000 } = options;
  const images = await createFakeImages();
  const service = await startImageService({
    ...{ listen: { host: "127.0.0.1", port: 0 }, runtime: images, secret: new ClusterSecret(redis) },
    ...{ maxArchiveBytes, log: SILENT },
  });
  await publishHost(redis, { id, imagesUrl: service.url, ...record });
  return {
    id,
    images,
    service,
    async stop() {
      await redis.multi().del(keys.host(id)).zrem(keys.hosts, id).exec();
      await service.close();
      await images.remove();
    },
  };
}

/** Long enough for a test, unlike that of a worker that beats. */
export async function publishHost(redis: Redis, record: Partial<HostRecord> & { id: string }): Promise<void> {
  const now = new Date().toISOString();
  const whole: HostRecord = {
    ...{ bootId: "boot", incarnation: "life", pool: "default", version: "0", driver: "fake", state: "ready" },
    ...{ capacity: ROOM, free: ROOM, running: 0, startedAt: now, heartbeatAt: now },
    ...record,
  };
  await redis
    .multi()
    .set(keys.host(record.id), JSON.stringify(whole), "PX", 20 * HOST_TTL_MS)
    .zadd(keys.hosts, Date.now(), record.id)
    .exec();
}
