import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { remember } from "../../../infra/leftovers.ts";
import { Place } from "../../../infra/place.ts";

const ENV = { PATH: "/usr/bin:/bin" };

let directory: string;
let notes: string[];

beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), "mayfly-place-")), "state dir");
  notes = [];
});

afterEach(() => rmSync(join(directory, ".."), { recursive: true }));

const open = () => Place.open(directory, (text) => notes.push(text));
const ended = (child: ChildProcess) =>
  new Promise<string | null>((resolve) => child.once("exit", (_, signal) => resolve(signal)));

describe("a stack's state directory", () => {
  it("is one stack's at a time: who comes second is told whom to stop", async () => {
    const place = await open();
    await expect(open()).rejects.toThrow(`is in use by another stack: stop it with \`kill ${process.pid}\``);
    await place.close(() => 0);
    await (await open()).close(() => 0);
  });

  it("lets other users through to what is theirs, and shows them nothing", async () => {
    const place = await open();
    expect(statSync(directory).mode & 0o777).toBe(0o711);
    expect(statSync(place.directory("redis")).mode & 0o777).toBe(0o700);
    await place.close(() => 0);
  });

  it("stops its processes, the last started first, and starts none after that", async () => {
    const place = await open();
    const order: string[] = [];
    for (const name of ["first", "second"])
      place.launch(name, ["cat", "/dev/zero"], ENV).gone.then(() => order.push(name));
    expect(readdirSync(join(directory, "pid")).sort()).toEqual(["first", "second"]);
    await place.close(() => 10_000);
    await place.close(() => 10_000);
    expect(order).toEqual(["second", "first"]);
    expect(readdirSync(join(directory, "pid"))).toEqual([]);
    expect(() => place.launch("third", ["true"], ENV)).toThrow("being stopped");
  });

  it("tells when a process of it dies by itself", async () => {
    const place = await open();
    place.launch("steady", ["sleep", "60"], ENV);
    place.launch("frail", ["sh", "-c", "echo why; exit 4"], ENV);
    await expect(place.died()).rejects.toThrow(/frail exited 4[\s\S]*why/);
    await place.close(() => 10_000);
  });

  it("stops what a stack that was killed had left running", async () => {
    const child = spawn("sleep", ["60"]);
    const end = ended(child);
    remember(join(directory, "pid"), "orphan", Number(child.pid));
    const place = await open();
    expect(await end).toBe("SIGTERM");
    expect(notes).toEqual(["stopped what an earlier stack had left running: orphan"]);
    await place.close(() => 0);
  });

  it("leaves a process alone that merely has the pid of one it remembers", async () => {
    await (await open()).close(() => 0);
    writeFileSync(join(directory, "pid", "other"), `${process.pid} 1\n`);
    await (await open()).close(() => 0);
    expect(notes).toEqual([]);
    expect(readdirSync(join(directory, "pid"))).toEqual([]);
  });
});
