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

/**
 * Makes a batch whose template names an upload: it is there before there is a batch, and kept for it after. Throws `upload_not_found`, too.
 */
export async function makeWithUpload(
  pins: UploadPins,
  { tenant, upload }: { readonly tenant: string; readonly upload: string | undefined },
  make: () => Promise<string>,
): Promise<string> {
  if (upload === undefined) return make();
  // Under the id of a run that is never made, which is believed in for as long as making a batch takes.
  await pins.pin({ upload, tenant, user: newRunId() });
  const user = await make();
  await pins.pin({ upload, tenant, user, retriedFrom: user });
  return user;
}
