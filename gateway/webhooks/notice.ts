// What a receiver is told, made anew for each attempt from the record: a run that has finished does not change.

import type { BatchFinished } from "../../core/batch.ts";
import { wallTime } from "../../core/clock.ts";
import { isMayflyError } from "../../core/errors.ts";
import type { RunRecord } from "../../core/record.ts";
import type { RunFinished } from "../../core/webhook.ts";
import { toRun } from "../answer.ts";
import type { StoredBatch } from "../dispatch/batch-record.ts";

/** Something to be told: where, and what. */
export interface Notice {
  /** The same for every attempt and from every gateway. No "." may be in it: it is part of what is signed. */
  readonly id: string;
  readonly url: string;
  /** JSON. */
  readonly body: string;
}

/** From what follows the ":" in an entry of the outbox. Undefined if it is not kept any more. */
export type Source = (id: string, tenant: string) => Promise<Notice | undefined>;

export const noticeId = (runId: string): string => `${runId}-finished`;

export function runNotice(get: (id: string, tenant: string) => Promise<RunRecord | undefined>): Source {
  return async (id, tenant) => {
    const record = await get(id, tenant);
    const url = record?.request.webhook?.url;
    if (!record || url === undefined) return undefined;
    return { id: noticeId(id), url, body: JSON.stringify(runFinished(record)) };
  };
}

/** The run as it is answered, with the facts of its output in the place of the output. */
function runFinished(record: RunRecord): RunFinished {
  const { stdout, stderr } = record;
  return {
    type: "run.finished",
    timestamp: wallTime(record.finishedAt ?? record.createdAt),
    data: { ...toRun(record), ...(stdout ? { stdout } : {}), ...(stderr ? { stderr } : {}) },
  };
}

/** A batch is told of with its counts; what came of each item is to be had from its results. */
export function batchNotice(get: (id: string, tenant: string) => Promise<StoredBatch>): Source {
  return async (id, tenant) => {
    const found = await get(id, tenant).catch((error) => {
      if (isMayflyError(error) && error.reason === "batch_not_found") return undefined;
      throw error;
    });
    if (found?.webhookUrl === undefined) return undefined;
    const { batch, webhookUrl: url } = found;
    const timestamp = batch.finishedAt ?? batch.createdAt;
    return {
      id: noticeId(id),
      url,
      body: JSON.stringify({ type: "batch.finished", timestamp, data: batch } satisfies BatchFinished),
    };
  };
}
