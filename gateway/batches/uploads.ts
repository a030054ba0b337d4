// The uploads that a batch's items name: each is kept until the batch is over. An item that names one that is not there is none.

import { isMayflyError, type MayflyError } from "../../core/errors.ts";
import { newRunId } from "../../core/ids.ts";
import type { Entry } from "../dispatch/batch-store.ts";
import type { UploadPins } from "../dispatch/upload-pins.ts";
import { malformed } from "./items.ts";

/** Of so many it is remembered whether they are there: a tenant may have no more of its own. */
const MAX_KNOWN = 1_000;

export class BatchUploads {
  readonly #pins: UploadPins;
  readonly #batch: { readonly id: string; readonly tenant: string };
  readonly #refusals = new Map<string, MayflyError | undefined>();

  constructor(pins: UploadPins, { id, tenant }: { readonly id: string; readonly tenant: string }) {
    this.#pins = pins;
    this.#batch = { id, tenant };
  }

  /** With those that name an upload which is not there as what they are: malformed. */
  async checked(entries: readonly Entry[]): Promise<Entry[]> {
    const checked: Entry[] = [];
    for (const entry of entries) {
      const refusal = entry.upload && (await this.#refusalOf(entry.upload.id));
      checked.push(refusal ? malformed(entry.line, entry.upload?.key, refusal) : entry);
    }
    return checked;
  }

  async #refusalOf(upload: string): Promise<MayflyError | undefined> {
    if (this.#refusals.has(upload)) return this.#refusals.get(upload);
    const { id: user, tenant } = this.#batch;
    // One that the batch has named before is kept for it, though its time may be over since.
    const pinning = this.#pins.pin({ upload, tenant, user, retriedFrom: user });
    const refusal = await pinning.then(() => undefined, refusalIn);
    if (this.#refusals.size >= MAX_KNOWN) this.#refusals.clear();
    this.#refusals.set(upload, refusal);
    return refusal;
  }
}

function refusalIn(error: unknown): MayflyError {
  if (isMayflyError(error) && error.reason === "upload_not_found") return error;
  throw error;
}

export interface Making {
  readonly make: () => Promise<string>;
  /** Whether the same call has made it before. */
  readonly isMade: () => Promise<boolean>;
}

/**
 * Makes a batch whose template names an upload: it is there before there is a batch, and kept for it after. Throws `upload_not_found`, too.
 */
export async function makeWithUpload(
  pins: UploadPins,
  { tenant, upload }: { readonly tenant: string; readonly upload: string | undefined },
  { make, isMade }: Making,
): Promise<string> {
  if (upload === undefined) return make();
  // Under the id of a run that is never made, which is believed in for as long as making a batch takes.
  const run = newRunId();
  try {
    await pins.pin({ upload, tenant, user: run });
  } catch (error) {
    // The same call again is answered with its batch, for which the upload may no longer be kept.
    if (!(await isMade())) throw error;
    return make();
  }
  const user = await make();
  // It may have been removed since, and is kept for that run: the batch goes on with it.
  await pins.pin({ upload, tenant, user, retriedFrom: run });
  return user;
}
