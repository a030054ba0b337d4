// Uploads that runs have named: each is kept until the runs are over that did so, whatever becomes of it meanwhile.

import type { Redis } from "ioredis";
import { type ErrorDetails, MayflyError } from "../../core/errors.ts";
import { newRunId } from "../../core/ids.ts";
import { keys } from "../../core/keys.ts";
import { runTransition } from "../../core/transitions.ts";
import { onRedis } from "./redis.ts";
import { idempotency, type Submission } from "./submit.ts";
import { uploadScripts } from "./upload-scripts.ts";

export interface Pin {
  readonly upload: string;
  readonly tenant: string;
  /** The run that names it, or the batch whose items do. */
  readonly user: string;
  /** What it is kept for already, and this goes on with (the run that this is another try of): then it may be over. */
  readonly retriedFrom?: string | undefined;
}

export class UploadPins {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** Safe to repeat. Throws `upload_not_found`. */
  async pin({ upload, tenant, user, retriedFrom = "" }: Pin): Promise<void> {
    const names = [keys.upload(upload), keys.uploadUsers(upload)];
    const args = [upload, tenant, user, retriedFrom];
    const answer = await onRedis(this.#redis, () => runTransition(this.#redis, uploadScripts.pin, names, args));
    if (answer === 0) throw uploadNotFound(upload, { field: "upload.id" });
  }

  /**
   * Submits a run, and has its upload kept for it from before there is a run. One that is not accepted after all is no run: that it named the
   * upload is forgotten by itself. Throws `upload_not_found`, too.
   */
  async submit(submission: Submission, submit: (submission: Submission) => Promise<string>): Promise<string> {
    const { request, tenant, retriedFrom, id = newRunId() } = submission;
    if (!request.upload) return submit(submission);
    try {
      await this.pin({ upload: request.upload.id, tenant, user: id, retriedFrom });
    } catch (error) {
      // The same call again is answered with its run, for which the upload may no longer be kept.
      const { name } = idempotency(submission);
      if (name === "" || (await onRedis(this.#redis, () => this.#redis.exists(name))) === 0) throw error;
    }
    return submit({ ...submission, id });
  }

  /** What is over goes, unless it is kept for a run. Answers how many uploads were looked at. */
  async sweep(): Promise<number> {
    return Number(
      await onRedis(this.#redis, () => runTransition(this.#redis, uploadScripts.sweep, [keys.uploadsDue], [])),
    );
  }
}

export function uploadNotFound(id: string, details: ErrorDetails = {}): MayflyError {
  return new MayflyError("upload_not_found", `there is no upload ${id}, or its time is over`, {
    details: { ...details, upload: id },
  });
}
