// The images of a host, in memory, with blobs in a directory: what an image service tells of when no container is wanted.
//
//   const images = await createFakeImages();
//   const digest = await images.addBlob(bytes);
//   images.add("busybox:latest", { pinned: true });
//   images.pulls.set("…", async (signal, tell) => { tell(…); return image; });
//   await images.remove();

import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MayflyError } from "../../core/errors.ts";
import type { ImageInfo, ImageInspection, Reclaimed } from "../../core/images.ts";
import type { EnsureOptions, HeldImage, ImageAdmin, LayerProgress, Runtime } from "../../runtime/index.ts";

export type Tell = (progress: LayerProgress) => void;

/** What a pull of a reference does: tells of layers, and throws what it fails with. */
export type FakePull = (signal: AbortSignal, tell: Tell, options: EnsureOptions) => Promise<void>;

export class FakeImages implements Pick<Runtime, "ensureImage" | "images"> {
  readonly directory: string;
  readonly held = new Map<string, ImageInfo>();
  readonly pulls = new Map<string, FakePull>();
  /** Every call, as `name argument`. */
  readonly calls: string[] = [];
  /** How many images are held by pulls that have not let go. */
  holds = 0;
  /** In place of an answer to every question. */
  failure: Error | undefined;
  /** Awaited before any question is answered. */
  pause: (signal?: AbortSignal) => Promise<void> = async () => {};
  readonly #blobs = new Map<string, { path: string; size: number }>();

  constructor(directory: string) {
    this.directory = directory;
  }

  readonly images: ImageAdmin = {
    list: () => this.#answer("list", () => [...this.held.values()]),
    inspect: (reference) => this.#answer(`inspect ${reference}`, () => this.#inspection(reference)),
    usage: () =>
      this.#answer("usage", () => ({
        ...{ images: this.held.size, layers: 1, budget: 1000, total: 100, shared: 40, unique: 60, reclaimable: 30 },
      })),
    remove: (reference) =>
      this.#answer(`remove ${reference}`, () => {
        if (this.#find(reference).pinned) throw new MayflyError("image_in_use", `${reference} is pinned`);
        this.held.delete(reference);
        return reclaimed([reference]);
      }),
    pin: (reference, pinned) =>
      this.#answer(`pin ${reference} ${pinned}`, () => {
        this.held.set(reference, { ...this.#find(reference), pinned });
      }),
    prune: ({ unusedForMs }) =>
      this.#answer(`prune ${unusedForMs}`, () => {
        const gone = [...this.held].filter(([, { pinned }]) => !pinned).map(([reference]) => reference);
        for (const reference of gone) this.held.delete(reference);
        return reclaimed(gone);
      }),
    verify: ({ reference = "all", repair }, signal) =>
      this.#answer(`verify ${reference} ${repair}`, () => ({ layers: 1, blobs: 2, faults: [] }), signal),
    blob: async (digest) => this.#blobs.get(digest),
    load: async (archive, signal) => {
      const chunks: Uint8Array[] = [];
      try {
        for await (const chunk of archive) if (chunks.push(chunk) === 1) this.calls.push("load begins");
      } catch (error) {
        this.calls.push("load broke off");
        throw error;
      }
      signal.throwIfAborted();
      const references = Buffer.concat(chunks).toString().split("\n").filter(Boolean);
      this.calls.push(`load ${references}`);
      for (const reference of references) this.add(reference);
      return references;
    },
    save: async (references, format) => {
      this.calls.push(`save ${references} ${format}`);
      for (const reference of references) this.#find(reference);
      return (async function* () {
        for (const reference of references) yield Buffer.from(`${reference}\n`);
      })();
    },
  };

  readonly ensureImage = async (
    reference: string,
    signal: AbortSignal,
    options: EnsureOptions = {},
  ): Promise<HeldImage> => {
    this.calls.push(`pull ${reference} ${options.pull}`);
    await this.pulls.get(reference)?.(signal, options.onProgress ?? (() => {}), options);
    const { digest, manifestDigest, layers } = this.add(reference);
    this.holds++;
    const config = { env: [], entrypoint: [], command: [], workdir: "/", user: "" };
    const paths = layers.map(() => "/layer");
    return { reference, digest, manifestDigest, config, layers: paths, release: () => void this.holds-- };
  };

  add(reference: string, more: Partial<ImageInfo> = {}): ImageInfo {
    const info = { ...imageInfo(reference), ...more };
    this.held.set(reference, info);
    return info;
  }

  /** Answers the digest of the bytes; `as` lies about it. */
  async addBlob(bytes: Uint8Array, as = digestOf(bytes)): Promise<string> {
    const path = join(this.directory, as.slice("sha256:".length));
    await writeFile(path, bytes);
    this.#blobs.set(as, { path, size: bytes.length });
    return as;
  }

  forgetBlob(digest: string): void {
    this.#blobs.delete(digest);
  }

  async remove(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }

  async #answer<T>(call: string, answer: () => T, signal?: AbortSignal): Promise<T> {
    this.calls.push(call);
    await this.pause(signal);
    if (this.failure) throw this.failure;
    return answer();
  }

  #find(reference: string): ImageInfo {
    const info = this.held.get(reference);
    if (!info) throw new MayflyError("image_not_present", `${reference} is not here`);
    return info;
  }

  #inspection(reference: string): ImageInspection {
    const info = this.#find(reference);
    const config = { env: ["A=1"], entrypoint: [], command: ["sh"], workdir: "/", user: "", labels: { a: "b" } };
    const [layer] = info.layers;
    const history = [
      { createdBy: "ADD rootfs.tar /", ...(layer ? { layer } : {}) },
      { createdBy: "CMD sh", createdAt: info.pulledAt },
    ];
    return { ...info, config, history };
  }
}

export const createFakeImages = async (): Promise<FakeImages> =>
  new FakeImages(await mkdtemp(join(tmpdir(), "mayfly-images-")));

export const digestOf = (bytes: Uint8Array | string): string =>
  `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

export function imageInfo(reference: string): ImageInfo {
  return {
    references: [reference],
    digest: digestOf(reference),
    manifestDigest: digestOf(`${reference} manifest`),
    configDigest: digestOf(`${reference} config`),
    platform: "linux/amd64",
    pulledAt: "2026-01-02T03:04:05.000Z",
    lastUsedAt: "2026-01-02T03:04:06.000Z",
    layers: [{ digest: digestOf("layer"), diffId: digestOf("diff"), size: 1000, unpacked: 2500 }],
    pinned: false,
    held: 0,
  };
}

const reclaimed = (references: string[]): Reclaimed => ({ references, layers: references.length, bytes: 10 });
