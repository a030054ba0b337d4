// The files of a sandbox, on their way to its PID 1: what comes first on its stdin, as init/files.h has it.

import type { Writable } from "node:stream";
import type { SandboxFile, SandboxSpec } from "./sandbox.ts";

/** struct file_header, in bytes. */
const HEADER_BYTES = 16;

export const hasFiles = ({ files }: SandboxSpec): boolean => files !== undefined && files.length > 0;

/** To be sent before anything else is. That it has been taken is known once the program has been started. */
export function sendFiles(sandbox: { readonly stdin: Writable }, spec: SandboxSpec): void {
  if (hasFiles(spec)) sandbox.stdin.write(encodeFiles(spec.files ?? []));
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
