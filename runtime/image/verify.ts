// Whether what is on disk still is what it must be, and making it right again.
//
// Documents and blobs are hashed again. An unpacked layer has no digest: its blob is unpacked once more beside it, and the two
// trees are compared. What is wrong is fetched anew, or replaced by the tree that was just made. Nothing that a run stands on is
// replaced: it is told, and left.

import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { isMayflyError, MayflyError, toMayflyError } from "../../core/errors.ts";
import type { Verified } from "../../core/images.ts";
import type { Digest } from "../content/digest.ts";
import { checkDigest } from "../content/store.ts";
import { compareTrees, type Expected } from "../layer/tree-compare.ts";
import { MAX_CONFIG_BYTES } from "./config.ts";
import type { NamedImage, Stores } from "./inventory.ts";
import { parseManifest } from "./manifest.ts";
import { contentPiece, layerPiece } from "./pieces.ts";
import { parseReference, type Repository } from "./reference.ts";
import type { Layer } from "./resolve.ts";
import { mayComeFrom, type Source } from "./sources.ts";

export interface VerifierOptions {
  readonly stores: Stores;
  /** Where what is wrong or missing is fetched. */
  readonly source: Source;
  /** Asked by itself when what came by way of others was not what it should be. */
  readonly registry: Source;
}

export interface Verifying {
  readonly repair: boolean;
  readonly signal: AbortSignal;
}

interface Fault {
  readonly digest: Digest;
  readonly what: string;
  readonly repaired: boolean;
}

/** What was looked at already: images share much of what they are made of. */
interface Findings {
  readonly seen: Set<string>;
  readonly faults: Fault[];
  layers: number;
  blobs: number;
}

export function createVerifier({ stores, source, registry }: VerifierOptions) {
  const { content, layers, leases, records } = stores;

  async function verify(images: readonly NamedImage[], verifying: Verifying): Promise<Verified> {
    const findings: Findings = { seen: new Set(), faults: [], layers: 0, blobs: 0 };
    for (const image of images) await verifyImage(image, findings, verifying);
    const { layers: checked, blobs, faults } = findings;
    return { layers: checked, blobs, faults };
  }

  async function verifyImage(image: NamedImage, findings: Findings, verifying: Verifying): Promise<void> {
    const [record] = image.records;
    const { repository } = parseReference(record.reference);
    const manifest = (digest: Digest) => source.manifest(repository, digest, verifying.signal);
    const documents = [...new Set(image.records.map(({ digest }) => digest)), record.manifestDigest];
    for (const digest of documents) await verifyDocument(digest, () => manifest(digest), findings, verifying);
    const config = () =>
      source.smallBlob(repository, record.configDigest, { maxBytes: MAX_CONFIG_BYTES, signal: verifying.signal });
    await verifyDocument(record.configDigest, config, findings, verifying);
    for (const layer of await layersOf(record.manifestDigest, record.layers)) {
      await verifyLayer(layer, repository, findings, verifying);
    }
  }

  /** How a layer is compressed stands in the manifest alone. Without that, nothing can be said of its layers. */
  async function layersOf(manifestDigest: Digest, recorded: NamedImage["records"][0]["layers"]): Promise<Layer[]> {
    const bytes = await content.read(manifestDigest);
    const manifest = bytes && parseManifest(bytes);
    if (manifest?.kind !== "manifest") return [];
    return manifest.layers.flatMap((blob, index) => {
      const diffId = recorded[index]?.diffId;
      return diffId ? [{ ...blob, diffId }] : [];
    });
  }

  async function verifyDocument(
    digest: Digest,
    fetch: () => Promise<Buffer>,
    findings: Findings,
    { repair, signal }: Verifying,
  ): Promise<void> {
    if (!isNew(contentPiece(digest), findings)) return;
    signal.throwIfAborted();
    const state = await stateOf(digest);
    findings.blobs++;
    if (state === "right") return;
    const anew = async () => {
      const bytes = await fetch();
      checkDigest(digest, bytes);
      await content.write(digest, bytes);
    };
    findings.faults.push(await faultOf(digest, `document: ${WORDS[state]}`, repair ? anew : undefined));
  }

  async function verifyLayer(
    layer: Layer,
    repository: Repository,
    findings: Findings,
    verifying: Verifying,
  ): Promise<void> {
    const { digest, diffId } = layer;
    if (!isNew(`${diffId} ${digest}`, findings)) return;
    verifying.signal.throwIfAborted();
    const state = await stateOf(digest);
    if (state !== "absent") findings.blobs++;
    const anew =
      verifying.repair && state !== "right" ? () => fetchBlob(layer, repository, verifying.signal) : undefined;
    const blob = state === "right" ? undefined : await faultOf(digest, `blob: ${WORDS[state]}`, anew);
    // That a blob is not kept is no fault; only that it cannot be had when it is needed.
    if (blob && (state === "wrong" || (anew && !blob.repaired))) findings.faults.push(blob);
    findings.layers++;
    const tree = blob && !blob.repaired ? await withoutBlob(layer) : await verifyTree(layer, verifying);
    if (tree) findings.faults.push(tree);
  }

  async function withoutBlob({ diffId }: Layer): Promise<Fault> {
    const isThere = (await layers.find(diffId)) !== undefined;
    const what = isThere ? "unpacked layer: it cannot be checked without its blob" : "unpacked layer: it is missing";
    return { digest: diffId, what, repaired: false };
  }

  async function verifyTree(layer: Layer, { repair, signal }: Verifying): Promise<Fault | undefined> {
    const { diffId } = layer;
    const unpackedSinceMs = Date.now();
    const aside = await unpackAgain(layer, signal);
    if (typeof aside !== "string") return aside;
    try {
      const difference = await differenceOf(diffId, { directory: aside, unpackedSinceMs }, signal);
      if (!difference) return undefined;
      const replace = () => layers.replace(diffId, aside).then(() => true);
      const isReplaced = repair && (await leases.remove(layerPiece(diffId), replace)) === true;
      const isHeld = repair && !isReplaced ? "; a run or pull holds it" : "";
      return { digest: diffId, what: `unpacked layer: ${difference}${isHeld}`, repaired: isReplaced };
    } finally {
      await layers.discard(aside);
    }
  }

  /** The directory, or the fault: a blob that is right can still not be what the config says of it. */
  async function unpackAgain(layer: Layer, signal: AbortSignal): Promise<string | Fault> {
    const blob = await content.open(layer.digest);
    if (!blob) return withoutBlob(layer); // It was collected meanwhile.
    try {
      return await layers.unpackAside(layer, blob, signal);
    } catch (error) {
      if (!isMayflyError(error) || error.reason !== "image_corrupt") throw error;
      return { digest: layer.diffId, what: `its blob does not give the layer: ${error.message}`, repaired: false };
    }
  }

  async function differenceOf(diffId: Digest, expected: Expected, signal: AbortSignal): Promise<string | undefined> {
    const place = await layers.find(diffId);
    try {
      return place ? await compareTrees(place, expected, signal) : "it is missing";
    } catch (error) {
      if (signal.aborted || records.need(layerPiece(diffId))) throw error;
      return undefined; // The image was removed meanwhile.
    }
  }

  async function stateOf(digest: Digest): Promise<keyof typeof WORDS | "right"> {
    const stream = await content.open(digest);
    if (!stream) return "absent";
    const hash = createHash("sha256");
    for await (const chunk of stream) hash.update(chunk);
    return `sha256:${hash.digest("hex")}` === digest ? "right" : "wrong";
  }

  async function fetchBlob(layer: Layer, repository: Repository, signal: AbortSignal): Promise<void> {
    await fetchBlobFrom(source, layer, repository, signal).catch(async (error: unknown) => {
      if (!mayComeFrom(registry, source, error)) throw error;
      await fetchBlobFrom(registry, layer, repository, signal);
    });
  }

  async function fetchBlobFrom(from: Source, layer: Layer, repository: Repository, signal: AbortSignal): Promise<void> {
    const { digest } = layer;
    const place = await content.reserve(digest);
    try {
      await writeVerified(place.path, layer, await from.blob(repository, layer, signal));
      await place.commit();
    } catch (error) {
      await place.discard();
      throw error;
    }
  }

  return { verify };
}

const WORDS = { absent: "it is missing", wrong: "it does not have its digest" } as const;

/** True the first time. */
function isNew(key: string, { seen }: Findings): boolean {
  if (seen.has(key)) return false;
  seen.add(key);
  return true;
}

/** The fault, and whether making it anew has helped. What a repair fails of is told; the next fault is looked for all the same. */
async function faultOf(digest: Digest, what: string, anew: (() => Promise<void>) | undefined): Promise<Fault> {
  if (!anew) return { digest, what, repaired: false };
  try {
    await anew();
    return { digest, what, repaired: true };
  } catch (error) {
    return { digest, what: `${what}; not fetched: ${toMayflyError(error).message}`, repaired: false };
  }
}

async function writeVerified(
  path: string,
  { digest, size }: { digest: Digest; size: number },
  bytes: AsyncIterable<Uint8Array>,
): Promise<void> {
  let left = size;
  const hash = createHash("sha256");
  const file = await open(path, "wx", 0o600);
  try {
    for await (const chunk of bytes) {
      left -= chunk.byteLength;
      if (left < 0) throw new MayflyError("image_corrupt", `content ${digest} has more than ${size} bytes`);
      hash.update(chunk);
      await file.writeFile(chunk);
    }
  } finally {
    await file.close();
  }
  const actual = `sha256:${hash.digest("hex")}`;
  if (actual !== digest) throw new MayflyError("image_corrupt", `content has digest ${actual}, not ${digest}`);
}
