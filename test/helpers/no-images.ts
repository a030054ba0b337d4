// The images of a host that has none, for runtimes of tests that are about other things.

import { MayflyError } from "../../core/errors.ts";
import type { ImageAdmin } from "../../runtime/index.ts";

const absent = (reference: string) => Promise.reject(new MayflyError("image_not_present", `${reference} is not here`));

export const NO_IMAGES: ImageAdmin = {
  list: async () => [],
  inspect: absent,
  remove: absent,
  pin: absent,
  prune: async () => ({ references: [], layers: 0, bytes: 0 }),
  verify: async () => ({ layers: 0, blobs: 0, faults: [] }),
  usage: async () => ({ images: 0, layers: 0, budget: 0, total: 0, shared: 0, unique: 0, reclaimable: 0 }),
  blob: async () => undefined,
  load: async () => [],
  save: async ([reference = ""]) => absent(reference),
};
