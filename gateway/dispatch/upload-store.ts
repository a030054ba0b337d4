// Uploads in Redis: written piece by piece, told of, removed. What becomes of one when is in upload-scripts.ts.

import type { Redis } from "ioredis";
import { wallTime } from "../../core/clock.ts";
import { MayflyError } from "../../core/errors.ts";
import { newUploadId } from "../../core/ids.ts";
import { keys } from "../../core/keys.ts";
import { runTransition } from "../../core/transitions.ts";
import { formatSize } from "../../core/units.ts";
import { UPLOAD_BOUNDS, type Upload, type UploadPage } from "../../core/uploads.ts";
import { onRedis } from "./redis.ts";
import { uploadNotFound } from "./upload-pins.ts";
import { uploadScripts } from "./upload-scripts.ts";

export interface UploadLimits {
  /** Of all of a tenant's at once. */
  readonly ofTenantBytes: number;
  readonly lifeMs: number;
}

/** `id`, `bytes`, `entries`, `createdAt`, `expiresAt`. */
type Told = readonly [string, string, string, string, string];

export class UploadStore {
  readonly #redis: Redis;
  readonly #limits: UploadLimits;

  constructor(redis: Redis, limits: UploadLimits) {
    this.#redis = redis;
    this.#limits = limits;
  }

  /**
   * Has `fill` hand over the pieces, one after the other; it answers what is in them. If it fails, nothing is left.
   * Errors: `quota_exceeded`, `upload_invalid` if it took so long that the beginning has gone, those of `fill`.
   */
  async write(
    tenant: string,
    fill: (keep: (piece: Buffer) => Promise<void>) => Promise<{ readonly entries: number; readonly bytes: number }>,
  ): Promise<Upload> {
    const id = newUploadId();
    let pieces = 0;
    try {
      const { bytes, entries } = await fill((piece) => this.#add({ id, tenant, piece, before: pieces++ }));
      const names = [keys.upload(id), keys.uploadPieces(id), keys.uploadsDue];
      const args = [id, tenant, bytes, entries, pieces, this.#limits.lifeMs];
      const told = (await this.#run("commit", names, args)) as [] | Told;
      if (told.length === 0) throw tooSlow();
      return present(told);
    } catch (error) {
      await this.#run("abandon", [keys.upload(id)], [id, tenant]).catch(() => {}); // Redis is away: it goes by itself.
      throw error;
    }
  }

  /** Throws `upload_not_found`, also for another tenant's. */
  async get(id: string, tenant: string): Promise<Upload> {
    const [told] = await this.#look(tenant, [id]);
    if (!told) throw uploadNotFound(id);
    return told;
  }

  /** Newest first. */
  async list(tenant: string, { limit, cursor }: { limit: number; cursor?: string | undefined }): Promise<UploadPage> {
    const all = await onRedis(this.#redis, () => this.#redis.hkeys(keys.uploadsOf(tenant)));
    const after = all.filter((id) => cursor === undefined || id < cursor).sort((a, b) => (a < b ? 1 : -1));
    const ids = after.slice(0, limit);
    const next = after.length > limit ? ids.at(-1) : undefined;
    return { uploads: await this.#look(tenant, ids), ...(next === undefined ? {} : { next }) };
  }

  /** Runs that have named it keep it. Throws `upload_not_found`. */
  async remove(id: string, tenant: string): Promise<void> {
    if ((await this.#run("remove", [keys.upload(id)], [id, tenant])) === 0) throw uploadNotFound(id);
  }

  async #add({ id, tenant, piece, before }: Piece): Promise<void> {
    const names = [keys.upload(id), keys.uploadPieces(id), keys.uploadsOf(tenant), keys.uploadsDue];
    const { ofTenantBytes } = this.#limits;
    const args = [id, tenant, piece, before, UPLOAD_BOUNDS.ofTenant, ofTenantBytes];
    switch ((await this.#run("add", names, args)) as "ok" | "many" | "full" | "gone") {
      case "ok":
        return;
      case "many":
        throw full(`${UPLOAD_BOUNDS.ofTenant} uploads`);
      case "full":
        throw full(`${formatSize(ofTenantBytes)} of uploads`);
      case "gone":
        throw tooSlow();
    }
  }

  async #look(tenant: string, ids: readonly string[]): Promise<Upload[]> {
    if (ids.length === 0) return [];
    return ((await this.#run("look", [keys.uploadsDue], [tenant, ...ids])) as Told[]).map(present);
  }

  #run(
    name: keyof typeof uploadScripts,
    names: readonly string[],
    args: readonly (string | number | Buffer)[],
  ): Promise<unknown> {
    return onRedis(this.#redis, () => runTransition(this.#redis, uploadScripts[name], names, args));
  }
}

interface Piece {
  readonly id: string;
  readonly tenant: string;
  readonly piece: Buffer;
  /** How many there were before it. */
  readonly before: number;
}

function present([id, bytes, entries, createdAt, expiresAt]: Told): Upload {
  const times = { createdAt: wallTime(Number(createdAt)), expiresAt: wallTime(Number(expiresAt)) };
  return { id, bytes: Number(bytes), files: Number(entries), ...times };
}

function full(what: string): MayflyError {
  return new MayflyError(
    "quota_exceeded",
    `the tenant may have ${what} at once: remove some, or wait until they are over`,
    {
      details: { limit: what },
    },
  );
}

function tooSlow(): MayflyError {
  return new MayflyError("upload_invalid", "the upload came so slowly that its beginning is not there any more");
}
