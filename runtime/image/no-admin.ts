// Stands in for an ImageAdmin until the image store has one.

import { MayflyError } from "../../core/errors.ts";
import type { ImageAdmin } from "./admin.ts";

const absent = async (): Promise<never> => {
  throw new MayflyError("not_implemented", "this host cannot administer its images yet");
};

export const NO_ADMIN: ImageAdmin = {
  list: absent,
  inspect: absent,
  remove: absent,
  pin: absent,
  prune: absent,
  verify: absent,
  usage: absent,
  blob: async () => undefined,
  load: absent,
  save: absent,
};
