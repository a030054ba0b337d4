// The files of a sandbox, on their way to its PID 1: what comes first on its stdin, as init/files.h has it.

import type { Writable } from "node:stream";
import type { SandboxFile, SandboxSpec, StreamedFile } from "./sandbox.ts";

/** struct file_header, in bytes. */
const HEADER_BYTES = 16;

/** Small ones are sent together. */
const SENT_BYTES = 64 * 1024;

export const hasFiles = ({ files, streamed }: SandboxSpec): boolean =>
  streamed !== undefined || files?.[0] !== undefined;

/**
 * To be called before anything else is sent. That they have been taken is known once the program has been started. Rejects with what the
 * streamed ones fail with: then the program must not start. Resolves early if nobody reads them any more.
 */
export async function sendFiles({ stdin }: { readonly stdin: Writable }, spec: SandboxSpec): Promise<void> {
  if (spec.streamed) {
    for await (const bytes of together(encodeStreamed(spec.streamed))) {
      if (stdin.destroyed) return;
      if (!stdin.write(bytes)) await drained(stdin);
    }
  }
  if (hasFiles(spec) && !stdin.destroyed) stdin.write(encodeFiles(spec.files ?? []));
}

async function* encodeStreamed(files: AsyncIterable<StreamedFile>): AsyncGenerator<Uint8Array> {
  for await (const { path, mode, bytes, content } of files) {
    const name = Buffer.from(path);
    yield header(name.length, mode, bytes);
    yield name;
    yield* content;
  }
}

async function* together(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  let parts: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    parts.push(chunk);
    length += chunk.length;
    if (length < SENT_BYTES) continue;
    yield Buffer.concat(parts, length);
    parts = [];
    length = 0;
  }
  if (length > 0) yield Buffer.concat(parts, length);
}

/** Or closed. */
async function drained(stdin: Writable): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  stdin.once("drain", resolve).once("close", resolve);
  if (stdin.destroyed) resolve();
  await promise;
  stdin.off("drain", resolve).off("close", resolve);
}

export function encodeFiles(files: readonly SandboxFile[]): Buffer {
  const parts = files.flatMap(({ path, mode, content }) => {
    const name = Buffer.from(path);
    return [header(name.length, mode, content.length), name, content];
  });
  return Buffer.concat([...parts, header(0, 0, 0)]);
}

function header(pathBytes: number, mode: number, bytes: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(pathBytes, 0);
  header.writeUInt32LE(mode, 4);
  header.writeBigUInt64LE(BigInt(bytes), 8);
  return header;
}
