// The unpacking program by itself: what it may and may not do, seen from outside while it works.

import { randomBytes } from "node:crypto";
import { chown, mkdir, mkdtemp, open, readdir, readFile, readlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { createGzip, zstdCompressSync } from "node:zlib";
import { afterEach, beforeEach, expect, test } from "vitest";
import { SILENT } from "../../core/log.ts";
import type { Digest } from "../../runtime/content/digest.ts";
import { finished, runProgram, startProcess } from "../../runtime/host/command.ts";
import { createLayerStore } from "../../runtime/layer/store.ts";
import { unpack } from "../../runtime/layer/unpacker.ts";
import { NEVER, UID_BASE, UNPACK_PROGRAM } from "../helpers/image-store.ts";
import { ROOT } from "../helpers/process.ts";
import { tar } from "../helpers/tar-builder.ts";

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "mayfly-unpack-"));
});
afterEach(async () => void (await runProgram(["rm", "-rf", "--", directory])));

function start(...options: string[]) {
  const argv = [UNPACK_PROGRAM, directory, "--uid-base", String(UID_BASE), ...options] as const;
  const child = startProcess([...argv], { stdio: ["pipe", "pipe", "pipe"] });
  child.stdin?.on("error", () => {}); // It may end before it has read everything.
  return { child, ended: finished(child) };
}

/** The process that parses, once it has unpacked the first file and waits for more. */
async function parserOf(pid: number | undefined): Promise<string> {
  while (!(await readdir(directory)).includes("first")); // It comes, or the test runs into its time limit.
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8");
  return `/proc/${children.trim()}`;
}

/** The beginning of an archive that goes on. */
const BEGINNING = tar([{ path: "first" }]).subarray(0, 512);

test("the process that parses sees nothing but the directory and holds almost no power", async () => {
  const { child, ended } = start();
  child.stdin?.write(BEGINNING);
  const parser = await parserOf(child.pid);
  const status = Object.fromEntries(
    (await readFile(`${parser}/status`, "utf8")).split("\n").map((line) => line.split(/:\s*/)),
  );
  expect(await readdir(`${parser}/root`)).toEqual(["first"]);
  expect((await readFile(`${parser}/mountinfo`, "utf8")).trim().split("\n")).toHaveLength(1);
  expect((await readFile(`${parser}/uid_map`, "utf8")).trim().split(/\s+/)).toEqual(["0", String(UID_BASE), "65536"]);
  expect(await readdir(`${parser}/fd`)).toHaveLength(4);
  expect(status.NoNewPrivs).toBe("1");
  expect(status.Seccomp).toBe("2"); // A filter.
  expect(status.CapEff).toBe("000000008000001b"); // chown, dac_override, fowner, fsetid, setfcap
  expect(status.CapPrm).toBe(status.CapEff);
  for (const namespace of ["user", "mnt", "net", "ipc", "uts", "pid", "cgroup"]) {
    expect(await readlink(`${parser}/ns/${namespace}`)).not.toBe(await readlink(`/proc/self/ns/${namespace}`));
  }
  child.stdin?.end();
  expect(await ended).toMatchObject({ exitCode: 0 });
});

test("the process that decompresses is nobody, has no files but its two ends, and a filter", async () => {
  const { child, ended } = start("--compression", "gzip");
  const gzip = createGzip();
  gzip.pipe(child.stdin as Writable);
  gzip.write(BEGINNING);
  gzip.flush();
  while (!(await readdir(directory)).includes("first")); // It comes, or the test runs into its time limit.
  const children = (await readFile(`/proc/${child.pid}/task/${child.pid}/children`, "utf8")).trim().split(" ");
  const statuses = await Promise.all(children.map((pid) => readFile(`/proc/${pid}/status`, "utf8")));
  const nobody = String(UID_BASE + 65_534);
  const at = statuses.findIndex((status) => status.includes(`Uid:\t${nobody}\t${nobody}\t${nobody}\t${nobody}`));
  expect(children).toHaveLength(2);
  expect(statuses[at]).toMatch(/^CapPrm:\t0+$/m);
  expect(statuses[at]).toMatch(/^NoNewPrivs:\t1$/m);
  expect(statuses[at]).toMatch(/^Seccomp:\t2$/m);
  expect((await readdir(`/proc/${children[at]}/fd`)).toSorted()).toEqual(["0", "1", "2"]);
  gzip.end();
  expect(await ended).toMatchObject({ exitCode: 0 });
});

test("a bomb is refused: more than 200 times what the blob has, beyond the first GiB", async () => {
  const { child, ended } = start("--compression", "zstd");
  const zeros = zstdCompressSync(Buffer.alloc(64 * 2 ** 20));
  child.stdin?.end(
    Buffer.concat([zstdCompressSync(tar([{ path: "first" }])), ...Array.from({ length: 20 }, () => zeros)]),
  );
  expect(await ended).toMatchObject({ exitCode: 3, stderrTail: "more than 200 times as many bytes as the blob has\n" });
});

test("a parser that has been taken over can make files in its directory, and nothing else", async () => {
  const source = (name: string) => join(ROOT, "runtime/layer/unpack", name);
  const program = join(directory, "confined");
  const files = [join(ROOT, "test/native/confined.c"), ...["confine.c", "filter.c", "die.c"].map(source)];
  await runProgram(["cc", "-std=c17", "-D_GNU_SOURCE", "-o", program, ...files, "-lseccomp"]);
  const room = join(directory, "room");
  await mkdir(room);
  await chown(room, UID_BASE, UID_BASE);
  const said = (await runProgram([program, room])).trim().split("\n");
  expect(said[0]).toBe("make a file: done");
  expect(said.slice(1, 4).every((line) => line.endsWith(": ENOENT"))).toBe(true);
  expect(said.slice(4).filter((line) => !line.endsWith(": EPERM"))).toEqual([]);
  expect(said).toHaveLength(15);
});

test("the process that parses dies with its parent", async () => {
  const { child, ended } = start();
  child.stdin?.write(BEGINNING);
  await parserOf(child.pid);
  child.kill("SIGKILL");
  expect(await ended).toMatchObject({ signal: "SIGKILL" }); // Its pipes close only when both are gone.
});

test("a parser that is killed is the host's failure, not the layer's", async () => {
  const { child, ended } = start();
  child.stdin?.write(BEGINNING);
  const parser = await parserOf(child.pid);
  process.kill(Number(parser.slice("/proc/".length)), "SIGKILL");
  expect(await ended).toMatchObject({ exitCode: 1, stderrTail: "the unpacking process was killed by signal 9\n" });
});

test.each(["first", "last"])(
  "of a pipeline that loses its %s process the rest of the blob is not waited for",
  async (which) => {
    const { child, ended } = start("--compression", "gzip");
    const gzip = createGzip();
    gzip.pipe(child.stdin as Writable);
    gzip.write(BEGINNING);
    gzip.flush();
    while (!(await readdir(directory)).includes("first")); // It comes, or the test runs into its time limit.
    const children = (await readFile(`/proc/${child.pid}/task/${child.pid}/children`, "utf8")).trim().split(" ");
    process.kill(Number(which === "first" ? children[1] : children[0]), "SIGKILL"); // In the order in which they were started.
    expect(await ended).toMatchObject({ exitCode: 1, stderrTail: expect.stringContaining("was killed by signal 9\n") });
  },
);

test("a disk that is full is the host's failure", async () => {
  const mounted = join(directory, "small");
  const archive = join(directory, "archive.tar");
  await runProgram(["mkdir", mounted]);
  const big = tar([{ path: "big", content: Buffer.alloc(2 ** 20, 1) }]);
  await writeFile(archive, big);
  const script = `mount -t tmpfs -o size=64k tmpfs ${mounted} && ${UNPACK_PROGRAM} ${mounted} --uid-base ${UID_BASE} < ${archive}`;
  const child = startProcess(["unshare", "-m", "sh", "-c", script], { stdio: ["ignore", "ignore", "pipe"] });
  expect(await finished(child)).toMatchObject({ exitCode: 1, stderrTail: expect.stringContaining("No space left") });
});

/** Collected by the garbage collector while it is open, a file handle ends the whole worker: Node takes that for an error. */
test.each([
  ["it was aborted before", { signal: AbortSignal.abort(new Error("too late")) }],
  ["its program cannot be started", { program: "/nowhere/mayfly-unpack" }],
  ["its program cannot even be named", { program: "mayfly\0unpack" }],
])("a blob is closed when %s", async (_what, changes) => {
  const blob = await openFile();
  const usual = { program: UNPACK_PROGRAM, uidBase: UID_BASE, layer: LAYER, signal: NEVER, onBytes: () => {} };
  await expect(unpack(blob, directory, { ...usual, ...changes })).rejects.toThrow();
  expect(blob.destroyed).toBe(true);
});

test("a blob is closed when there is no place to unpack it to", async () => {
  const blob = await openFile();
  const unpacker = { program: UNPACK_PROGRAM, uidBase: UID_BASE };
  const layers = createLayerStore({ directory: join(directory, "blob"), unpacker, log: SILENT }); // That is a file.
  await expect(layers.unpackAside(LAYER, blob, NEVER)).rejects.toThrow("EEXIST");
  expect(blob.destroyed).toBe(true);
});

const ZEROS: Digest = `sha256:${"0".repeat(64)}`;
const LAYER = { digest: ZEROS, diffId: ZEROS, size: 1024, compression: "none" } as const;

async function openFile(): Promise<Readable> {
  const path = join(directory, "blob");
  await writeFile(path, Buffer.alloc(1024));
  return (await open(path)).createReadStream();
}

test.each([
  ["no directory", []],
  ["a uid base among the host's own users", ["DIR", "--uid-base", "1000"]],
  ["a uid base without room above", ["DIR", "--uid-base", "4294967290"]],
  ["a number that is none", ["DIR", "--uid-base", "200000", "--max-bytes", "-1"]],
  ["an unknown option", ["DIR", "--uid-base", "200000", "--force"]],
])("%s is wrong usage", async (_what, options) => {
  const argv = options.map((option) => (option === "DIR" ? directory : option));
  expect(
    await finished(startProcess([UNPACK_PROGRAM, ...argv], { stdio: ["ignore", "ignore", "pipe"] })),
  ).toMatchObject({
    exitCode: 2,
  });
});

/** Everything that a layer can hold, written by GNU tar in the form with most to get wrong, and what only layers hold. */
async function makeArchive(): Promise<string> {
  const source = join(directory, "source");
  const archive = join(directory, "archive.tar");
  const script = `
    mkdir -p ${source}/d ${source}/opaque && cd ${source} && echo x > d/file && ln d/file link && ln -s d/file symlink && mkfifo pipe
    ${SET_XATTR} && truncate -s 100k sparse && printf end | dd of=sparse bs=1 seek=50k conv=notrunc status=none
    echo x > d/${"n".repeat(150)} && touch opaque/.wh..wh..opq opaque/.wh.gone && mknod device c 1 3 && chmod 4755 d/file
    tar --format=pax --xattrs --sparse --sort=name -cf ${archive} .`;
  await runProgram(["sh", "-e", "-c", script]);
  return archive;
}

const SET_XATTR = `python3 -c 'import os; os.setxattr("d/file", "user.a", b"b")'`;

/** `npm run test:long` has more patience. */
const FUZZ_ROUNDS = process.env.MAYFLY_TEST_LONG === "1" ? 4_000 : 400;

test("whatever the bytes are, the program ends with a verdict, done or refused in one line, and touches nothing else", {
  timeout: 600_000,
}, async () => {
  const archive = await makeArchive();
  const room = join(directory, "room");
  await mkdir(room);
  const seed = randomBytes(4).toString("hex");
  const fuzz = ["python3", join(import.meta.dirname, "../helpers/unpack-fuzz.py")];
  const argv = ["unshare", "-m", ...fuzz, UNPACK_PROGRAM, archive, room, String(FUZZ_ROUNDS), seed] as const;
  const { statuses, wrong } = JSON.parse(await runProgram([...argv]));
  expect({ seed, wrong }).toEqual({ seed, wrong: [] });
  expect(statuses[0]).toBeGreaterThan(FUZZ_ROUNDS / 50); // Both happen: it is not refused for one reason that hides the others.
  expect(statuses[3]).toBeGreaterThan(FUZZ_ROUNDS / 50);
});
