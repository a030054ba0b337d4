// Somebody who pulls and unpacks images.

import type { PullImage } from "./images.ts";

export interface Puller {
  readonly name: "mayfly" | "docker" | "containerd" | "skopeo-umoci";
  readonly note: string;
  /** From the registry until a container could be started; how long it took, in ms. */
  pull(reference: string): Promise<number>;
  /** Whatever it has of the image is gone. */
  forget(reference: string): Promise<void>;
  close(): Promise<void>;
}

export const rowName = (puller: string, image: PullImage["name"]) => `${puller} ${image}`;

/** How long a command took, in ms. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}
