// Builds images in code and pushes them to a registry over its API.
//
//   const registry = await startRegistry();
//   const image = buildImage({ layers: [buildLayer([{ path: "hello", content: "hi" }])], config: { Cmd: ["cat", "hello"] } });
//   const { reference } = await pushImage(registry, "demo/hello:1", image);
//
// `busyboxImage()` is the image of most tests: a shell, /etc/passwd with root and app (1000:1000), /tmp.

import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { type Digest, digestOf } from "../../runtime/content/digest.ts";
import { runProgram } from "../../runtime/host/command.ts";
import { linuxPlatform, type Platform } from "../../runtime/image/platform.ts";
import type { Registry } from "./registry.ts";
import { type TarEntry, tar } from "./tar-builder.ts";

/** As an image config writes it. */
export interface RunConfig {
  readonly Env?: readonly string[];
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly WorkingDir?: string;
  readonly User?: string;
}

export interface Blob {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly bytes: Buffer;
}

export type Format = "oci" | "docker";

export interface BuiltLayer {
  readonly bytes: Buffer;
  readonly digest: Digest;
  readonly diffId: Digest;
  readonly compression: "gzip" | "none";
}

export interface BuiltImage {
  readonly manifest: Blob;
  readonly blobs: readonly Blob[];
  readonly platform: Platform;
}

export interface BuiltIndex {
  readonly manifest: Blob;
  readonly images: readonly BuiltImage[];
}

export interface ImageRecipe {
  readonly layers: readonly BuiltLayer[];
  readonly config?: RunConfig;
  /** "oci" if it says nothing. */
  readonly format?: Format;
  /** This host's if it says nothing. */
  readonly platform?: Platform;
  /** Put into the documents after all else, to make them wrong. */
  readonly manifestOverrides?: Readonly<Record<string, unknown>>;
  readonly configOverrides?: Readonly<Record<string, unknown>>;
}

export const HOST_PLATFORM = linuxPlatform(process.arch);

const TYPES = {
  oci: {
    index: "application/vnd.oci.image.index.v1+json",
    manifest: "application/vnd.oci.image.manifest.v1+json",
    config: "application/vnd.oci.image.config.v1+json",
    gzip: "application/vnd.oci.image.layer.v1.tar+gzip",
    none: "application/vnd.oci.image.layer.v1.tar",
  },
  docker: {
    index: "application/vnd.docker.distribution.manifest.list.v2+json",
    manifest: "application/vnd.docker.distribution.manifest.v2+json",
    config: "application/vnd.docker.container.image.v1+json",
    gzip: "application/vnd.docker.image.rootfs.diff.tar.gzip",
    none: "application/vnd.docker.image.rootfs.diff.tar",
  },
} as const;

/** A layer from entries, or from the bytes of a tar that something else has made. */
export function buildLayer(content: readonly TarEntry[] | Buffer, compression: "gzip" | "none" = "gzip"): BuiltLayer {
  const archive = Buffer.isBuffer(content) ? content : tar(content);
  const bytes = compression === "gzip" ? gzipSync(archive) : archive;
  return { bytes, digest: digestOf(bytes), diffId: digestOf(archive), compression };
}

export function buildImage(recipe: ImageRecipe): BuiltImage {
  const { layers, config = {}, format = "oci", platform = HOST_PLATFORM } = recipe;
  const types = TYPES[format];
  const configBlob = documentOf(types.config, {
    ...platform,
    config,
    rootfs: { type: "layers", diff_ids: layers.map((layer) => layer.diffId) },
    ...recipe.configOverrides,
  });
  const layerBlobs = layers.map((layer) => ({
    mediaType: types[layer.compression],
    digest: layer.digest,
    bytes: layer.bytes,
  }));
  const manifest = documentOf(types.manifest, {
    schemaVersion: 2,
    mediaType: types.manifest,
    config: descriptorOf(configBlob),
    layers: layerBlobs.map(descriptorOf),
    ...recipe.manifestOverrides,
  });
  return { manifest, blobs: [configBlob, ...layerBlobs], platform };
}

export function buildIndex(images: readonly BuiltImage[], format: Format = "oci"): BuiltIndex {
  const manifests = images.map((image) => ({ ...descriptorOf(image.manifest), platform: image.platform }));
  const mediaType = TYPES[format].index;
  return { images, manifest: documentOf(mediaType, { schemaVersion: 2, mediaType, manifests }) };
}

/** `name` is `repository:tag`. Answers with references that a store can ensure. */
export async function pushImage(
  registry: Pick<Registry, "host" | "headers">,
  name: string,
  image: BuiltImage | BuiltIndex,
): Promise<{ reference: string; byDigest: string; digest: Digest }> {
  const [repository = "", tag = "latest"] = name.split(":");
  for (const part of "images" in image ? image.images : [image]) {
    for (const blob of part.blobs) await pushBlob(registry, repository, blob);
    await putManifest(registry, repository, part.manifest.digest, part.manifest);
  }
  await putManifest(registry, repository, tag, image.manifest);
  const { digest } = image.manifest;
  return {
    digest,
    reference: `${registry.host}/${repository}:${tag}`,
    byDigest: `${registry.host}/${repository}@${digest}`,
  };
}

/** One layer with Debian's static busybox and its applets, an `app` user (1000:1000, /home/app), and an open /tmp. */
export async function busyboxImage(config: RunConfig = {}, recipe: Partial<ImageRecipe> = {}): Promise<BuiltImage> {
  return buildImage({
    layers: [await busyboxLayer()],
    config: { Env: [BUSYBOX_PATH], Cmd: ["sh"], ...config },
    ...recipe,
  });
}

export const BUSYBOX_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

let busybox: Promise<BuiltLayer> | undefined;

/** Built once a process: gzip takes a moment. */
export function busyboxLayer(): Promise<BuiltLayer> {
  busybox ??= busyboxEntries().then((entries) => buildLayer(entries));
  return busybox;
}

async function busyboxEntries(): Promise<TarEntry[]> {
  const applets = (await runProgram(["/bin/busybox", "--list"]))
    .split("\n")
    .filter((name) => name !== "" && name !== "busybox");
  const directories = [
    "bin/",
    "dev/",
    "etc/",
    "home/",
    "proc/",
    "root/",
    "run/",
    "sbin/",
    "sys/",
    "usr/",
    "usr/bin/",
    "var/",
  ];
  return [
    { path: "./" },
    ...directories.map((path) => ({ path })),
    { path: "home/app/", uid: 1000, gid: 1000 },
    { path: "tmp/", mode: 0o1777 },
    { path: "bin/busybox", mode: 0o755, content: readFileSync("/bin/busybox") },
    ...applets.map((name) => ({ path: `bin/${name}`, type: "symlink" as const, linkTarget: "busybox" })),
    { path: "etc/passwd", content: "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n" },
    { path: "etc/group", content: "root:x:0:\napp:x:1000:\n" },
  ];
}

async function pushBlob(registry: Pick<Registry, "host" | "headers">, repository: string, blob: Blob): Promise<void> {
  const base = `http://${registry.host}`;
  const opened = await fetch(`${base}/v2/${repository}/blobs/uploads/`, { method: "POST", headers: registry.headers });
  await expectStatus(opened, 202, "an upload");
  const target = new URL(opened.headers.get("location") ?? "", base);
  target.searchParams.set("digest", blob.digest);
  const headers = { ...registry.headers, "content-type": "application/octet-stream" };
  const put = await fetch(target, { method: "PUT", headers, body: new Uint8Array(blob.bytes) });
  await expectStatus(put, 201, `blob ${blob.digest}`);
}

async function putManifest(
  registry: Pick<Registry, "host" | "headers">,
  repository: string,
  name: string,
  manifest: Blob,
) {
  const headers = { ...registry.headers, "content-type": manifest.mediaType };
  const url = `http://${registry.host}/v2/${repository}/manifests/${name}`;
  const put = await fetch(url, { method: "PUT", headers, body: new Uint8Array(manifest.bytes) });
  await expectStatus(put, 201, `manifest ${name}`);
}

async function expectStatus(response: Response, status: number, what: string): Promise<void> {
  const body = await response.text();
  if (response.status !== status) throw new Error(`pushing ${what}: ${response.status} ${body}`);
}

function documentOf(mediaType: string, value: unknown): Blob {
  const bytes = Buffer.from(JSON.stringify(value));
  return { mediaType, bytes, digest: digestOf(bytes) };
}

function descriptorOf({ mediaType, digest, bytes }: Blob): { mediaType: string; digest: Digest; size: number } {
  return { mediaType, digest, size: bytes.length };
}
