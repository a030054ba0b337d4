// What every driver of sandboxes does with what a program leaves. A part of the suite of sandbox-driver.ts.

import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { Readable } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { readTar } from "../../core/tar-reader.ts";
import type { Sandbox, SandboxSpec } from "../../runtime/index.ts";
import { type RuntimeUnderTest, text } from "../helpers/runtime.ts";

const MIB = 2 ** 20;
const RULES = {
  maxEntries: 10_000,
  broken: (what: string) => new Error(what),
  tooMany: () => new Error("too many"),
};

interface Entry {
  readonly name: string;
  readonly mode: number;
  readonly modifiedMs: number;
  readonly content: Buffer;
}

async function entriesOf(tar: Readable = Readable.from([])): Promise<Entry[]> {
  const entries: Entry[] = [];
  for await (const { name, type, mode, modifiedMs, content } of readTar(tar, RULES)) {
    const parts: Uint8Array[] = [];
    for await (const part of content) parts.push(part);
    expect(type).toBe("file");
    entries.push({ name, mode, modifiedMs, content: Buffer.concat(parts) });
  }
  return entries;
}

const wanted = (patterns: string[], { maxFiles = 1000, maxBytes = 4 * MIB } = {}) => ({ patterns, maxFiles, maxBytes });

export function artifactsContract(current: () => RuntimeUnderTest): void {
  describe("artifacts that it leaves", () => {
    /** Runs a script to its end, however that comes. */
    async function left(
      script: string,
      artifacts: NonNullable<SandboxSpec["artifacts"]>,
      rest: Partial<SandboxSpec> = {},
    ) {
      const sandbox = await current().open({ argv: ["sh", "-c", script], artifacts, ...rest });
      return collected(sandbox);
    }

    async function collected(sandbox: Sandbox) {
      try {
        sandbox.stdin.end();
        const [entries, end, stdout] = await Promise.all([
          entriesOf(sandbox.artifacts),
          sandbox.ended,
          text(sandbox.stdout),
          text(sandbox.stderr),
        ]);
        const summary = entries.at(-1);
        expect(summary?.name).toBe("/left-out");
        const files = entries.slice(0, -1);
        const names = files.map(({ name }) => name).toSorted();
        return { names, files, stdout, process: end.process, leftOut: summary?.content.toString() };
      } finally {
        await sandbox.close();
      }
    }

    it("are the files that patterns name, each once, with content, permissions and time", async () => {
      const script = `mkdir -p /out/deep/er /work/x; echo -n one > /out/a.txt; echo two > /out/deep/er/b; : > /out/.hidden
        for i in 1 2 a; do echo $i > /work/report-$i.json; done; echo no > /work/report-1.txt; echo no > /work/x/report-1.json
        chmod 751 /out/a.txt; touch -d '2001-02-03 04:05:06' /out/a.txt; exit 3`;
      const { names, files, process, leftOut } = await left(
        script,
        wanted(["/out/**", "/work/report-[0-9].json", "/out/a.*"]),
      );
      expect(names).toEqual(["out/.hidden", "out/a.txt", "out/deep/er/b", "work/report-1.json", "work/report-2.json"]);
      expect(files.find(({ name }) => name === "out/a.txt")).toEqual({
        name: "out/a.txt",
        mode: 0o751,
        modifiedMs: Date.UTC(2001, 1, 3, 4, 5, 6),
        content: Buffer.from("one"),
      });
      expect(process).toEqual({ kind: "exited", exitCode: 3 });
      expect(leftOut).toBe("0 0 0\n");
    });

    it.each([
      ["a directory is all that is in it", ["/t/d"], ["t/d/e/f/g.c", "t/d/x"]],
      ["** is any number of directories, none too", ["/t/**/*.c"], ["t/a.c", "t/d/e/f/g.c"]],
      ["** in the middle", ["/t/**/e/**/g.?"], ["t/d/e/f/g.c"]],
      ["* stays within a name, and is nothing too", ["/t/*.c", "/t/x*y"], ["t/a.c", "t/xy"]],
      ["? is a character, not a byte of one", ["/t/?.u"], ["t/é.u"]],
      ["a class, and one that is turned round", ["/t/[a-c].c", "/t/[!a]y"], ["t/a.c", "t/xy"]],
      ["what is escaped is itself", ["/t/\\*", "/t/[[]"], ["t/*", "t/["]],
      ["a file by its name", ["/etc/hostname-not", "/t/a.c"], ["t/a.c"]],
      ["nothing", ["/nothing/**"], []],
    ])("by pattern: %s", async (_, patterns, expected) => {
      const script = "mkdir -p /t/d/e/f; cd /t; touch a.c xy d/x d/e/f/g.c é.u '*' '['";
      const { names, leftOut } = await left(script, wanted(patterns));
      expect(names).toEqual(expected.toSorted());
      expect(leftOut).toBe("0 0 0\n");
    });

    it("have whole names, of more than 100 and of more than 255 bytes", async () => {
      const name = `${"n".repeat(200)} é`;
      const deep = `d/${"m".repeat(250)}/${"k".repeat(250)}/${name}`;
      const script = `mkdir -p "/out/$(dirname '${deep}')"; echo 1 > '/out/${name}'; echo 2 > '/out/${deep}'`;
      const { names } = await left(script, wanted(["/out"]));
      expect(names).toEqual([`out/${deep}`, `out/${name}`]);
    });

    it("are of the file system that the container has, and of no other", async () => {
      const { names, leftOut } = await left(
        "echo x > /dev/shm/x",
        wanted(["/proc/**", "/sys/**", "/dev/**", "/**/hostname"]),
      );
      expect(names.filter((name) => /^(proc|sys|dev)/.test(name))).toEqual([]);
      expect(leftOut).toBe("0 0 0\n");
    });

    it("lead nowhere: no symlink is followed, whichever part of a path it is, and neither FIFO nor device is opened", async () => {
      const script = `mkdir /out; ln -s /etc/passwd /out/passwd; ln -s /etc /out/etc; ln -s / /root-link; mkfifo /out/fifo
        ln -s /proc/self/environ /out/environ; mknod /out/null c 1 3 2>/dev/null; echo real > /out/real`;
      const { names, leftOut } = await left(
        script,
        wanted(["/out/**", "/root-link/etc/passwd", "/out/etc/passwd", "/out/fifo"]),
      );
      expect(names).toEqual(["out/real"]);
      expect(leftOut).toBe("0 0 0\n");
    });

    it("come whole at the pace of their reader", async () => {
      const sandbox = await current().open({
        argv: ["sh", "-c", "mkdir /out; cat > /out/big; sha256sum < /out/big"],
        artifacts: wanted(["/out"], { maxBytes: 16 * MIB }),
      });
      const big = randomBytes(9 * MIB + 7);
      sandbox.stdin.end(big);
      const said = await text(sandbox.stdout);
      await sandbox.programEnded;
      for (let i = 0; i < 100; i++) await turn(); // Nobody reads; what comes meanwhile is no more than its credit.
      expect(sandbox.artifacts?.readableLength).toBeLessThanOrEqual(MIB);
      const { files, process } = await collected(sandbox);
      const hash = createHash("sha256")
        .update(files[0]?.content ?? "")
        .digest("hex");
      expect([hash, `${hash}  -\n`]).toEqual([createHash("sha256").update(big).digest("hex"), said]);
      expect(process).toEqual({ kind: "exited", exitCode: 0 });
    });

    it("over the limit are left out whole, and counted; what fits after them is in", async () => {
      const script =
        "mkdir /out; cd /out; head -c 600 /dev/zero > a; head -c 700 /dev/zero > b; head -c 5000 /dev/zero > c; : > d";
      const { names, files, leftOut } = await left(script, wanted(["/out"], { maxBytes: 1024 }));
      const kept = files.reduce((sum, { content }) => sum + content.length, 0);
      const inIt = names.includes("out/a") ? "a" : "b";
      expect(names).toEqual([`out/${inIt}`, "out/d"]);
      expect(kept).toBe(inIt === "a" ? 600 : 700);
      expect(leftOut).toBe(`2 ${6300 - kept} 0\n`);
    });

    it("that are said to be larger than anything are counted all the same", async () => {
      const script = "mkdir /out; cd /out; for i in 1 2 3; do truncate -s 9000000000000000000 $i && echo large; done";
      const { names, leftOut, stdout } = await left(script, wanted(["/out"]));
      expect([names, stdout]).toEqual([[], "large\n".repeat(3)]);
      expect(leftOut).toBe("3 999999999999999 0\n");
    });

    it("that are more than may be are counted", async () => {
      const script = "mkdir /out; cd /out; for i in 1 2 3 4 5; do echo > $i; done";
      const { names, leftOut } = await left(script, wanted(["/out"], { maxFiles: 3 }));
      expect([names.length, leftOut]).toEqual([3, "2 2 0\n"]);
    });

    it("that are deeper than the walk goes are told as something that was not looked at", async () => {
      const script = "mkdir /out; cd /out; for i in $(seq 80); do mkdir d; cd d; done; touch /out/x f";
      const { names, leftOut } = await left(script, wanted(["/out"]));
      expect([names, leftOut]).toEqual([["out/x"], "0 0 1\n"]);
    });

    it("do not change under the walk: what is left of the program's is killed first", async () => {
      const script = `mkdir /out; (trap '' TERM HUP; while :; do echo line >> /out/log; done) & setsid sh -c 'while :; do date > /out/date; done' &
        while [ ! -s /out/log ]; do sleep 0.01; done; echo up`;
      const { names, files, leftOut, stdout } = await left(script, wanted(["/out/log"]));
      expect([names, leftOut, stdout]).toEqual([["out/log"], "0 0 0\n", "up\n"]);
      expect(files[0]?.content.toString().replaceAll("line\n", "")).toMatch(/^(l|li|lin|line)?$/);
    });

    it("are there of a program that a signal has ended, and of one that is killed with all its children", async () => {
      const script = "mkdir /out; echo x > /out/x; trap '' TERM; sleep 300 & echo up; wait; sleep 300";
      const open = () => current().open({ argv: ["sh", "-c", script], artifacts: wanted(["/out"]) });
      const killed = await open();
      await once(killed.stdout, "readable");
      killed.killProgram();
      expect(await collected(killed)).toMatchObject({
        names: ["out/x"],
        process: { kind: "signaled", signal: "SIGKILL" },
      });

      const ended = await current().open({
        argv: ["sh", "-c", `${script.replace("trap '' TERM; ", "")}`],
        artifacts: wanted(["/out"]),
      });
      await once(ended.stdout, "readable");
      ended.signal("SIGTERM");
      expect(await collected(ended)).toMatchObject({
        names: ["out/x"],
        process: { kind: "signaled", signal: "SIGTERM" },
      });
    });

    it("are lost with the container, which ends as it would have", async () => {
      const sandbox = await current().open({
        argv: ["sh", "-c", "mkdir /out; echo x > /out/x; echo up; sleep 300"],
        artifacts: wanted(["/out"]),
      });
      await once(sandbox.stdout, "readable");
      sandbox.kill();
      await expect(entriesOf(sandbox.artifacts)).rejects.toThrow("cut short");
      expect((await sandbox.ended).process).toEqual({ kind: "signaled", signal: "SIGKILL" });
      await sandbox.close();
    });

    it("do not change how the program ended, though the container is killed while they are collected", async () => {
      const script = "mkdir /out; head -c 8000000 /dev/urandom > /out/x; exit 5";
      const sandbox = await current().open({
        argv: ["sh", "-c", script],
        artifacts: wanted(["/out"], { maxBytes: 16 * MIB }),
      });
      await sandbox.programEnded;
      sandbox.kill();
      expect((await sandbox.ended).process).toEqual({ kind: "exited", exitCode: 5 });
      await expect(entriesOf(sandbox.artifacts)).rejects.toThrow("cut short");
      await sandbox.close();
    });

    it("may be left unread: closing does not wait for them", async () => {
      const script = "mkdir /out; head -c 8000000 /dev/urandom > /out/x";
      const sandbox = await current().open({
        argv: ["sh", "-c", script],
        artifacts: wanted(["/out"], { maxBytes: 16 * MIB }),
      });
      await sandbox.programEnded;
      await sandbox.close();
    });

    it("are none of a program that could not be started", async () => {
      const sandbox = await current().open({ argv: ["/not/there"], artifacts: wanted(["/etc"]) });
      expect(sandbox.programStarted).toBe(false);
      await expect(entriesOf(sandbox.artifacts)).rejects.toThrow("cut short");
      expect((await sandbox.ended).process).toEqual({ kind: "exited", exitCode: 127 });
      await sandbox.close();
    });

    it("are had of a program at a terminal, too, and of one of another user, who keeps them to itself", async () => {
      const { names, stdout } = await left("cd; umask 077; echo x > x; echo done", wanted(["/home/**"]), {
        user: "app",
        terminal: { rows: 24, columns: 80 },
      });
      expect([names.includes("home/app/x"), stdout]).toEqual([true, "done\r\n"]);
    });

    it("are not asked for by default: then there is nothing to read", async () => {
      const sandbox = await current().open();
      await Promise.all([sandbox.programEnded, sandbox.ended]);
      expect(sandbox.artifacts).toBeUndefined();
      await sandbox.close();
    });
  });
}
