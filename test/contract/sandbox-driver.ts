// What every driver of sandboxes does, whatever it is made of. Each is held to it with real containers.

import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { readlink } from "node:fs/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { inChunks } from "../helpers/archive.ts";
import { eventually } from "../helpers/eventually.ts";
import { buildLayer, busyboxImage, busyboxLayer, pushImage } from "../helpers/image-builder.ts";
import { traces } from "../helpers/leak-check.ts";
import { DEFAULT_UID_BASE, type RuntimeUnderTest, text } from "../helpers/runtime.ts";
import { artifactsContract } from "./artifacts.ts";

const MIB = 2 ** 20;

export function sandboxDriverContract(name: string, make: () => Promise<RuntimeUnderTest>): void {
  describe(`the ${name} driver`, () => {
    let under: RuntimeUnderTest;

    beforeAll(async () => {
      under = await make();
    });
    afterAll(() => under.stop());

    /** Whatever a test did, nothing of it stands afterwards. */
    afterEach(async () => {
      const left = await traces(under.host);
      expect(left).toMatchObject({ mounts: [], cgroups: [], processes: [], networkNamespaces: [] });
      expect(left.directories.filter((path) => path.includes("/bundles/"))).toEqual([]);
    });

    describe("when a sandbox cannot be made", () => {
      it("names a user whose id is outside the container's", async () => {
        await expect(under.open({ user: "70000" })).rejects.toMatchObject({
          reason: "invalid_field",
          details: { field: "user" },
        });
      });

      it("names a user that the image does not have, and leaves nothing", async () => {
        await expect(under.open({ user: "nobody-here" })).rejects.toMatchObject({
          reason: "invalid_field",
          details: { field: "user" },
        });
      });

      it("names a working directory that cannot be made", async () => {
        await expect(under.open({ workdir: "/etc/passwd/below" })).rejects.toMatchObject({
          reason: "invalid_field",
          details: { field: "workdir" },
        });
      });

      it("rejects with the reason of a signal that aborts while it is being made", async () => {
        const abort = new AbortController();
        const opening = under.open({ argv: ["sleep", "60"] }, abort.signal);
        abort.abort(new Error("not wanted any more"));
        await expect(opening).rejects.toThrow("not wanted any more");
      });

      it("says why when a layer is missing", async () => {
        const image = { ...under.image, layers: ["/nonexistent/layer"] };
        await expect(under.open({ image })).rejects.toMatchObject({ reason: "host_unavailable" });
      });

      it("refuses a second one of the same id, and does not touch the first", async () => {
        const first = await under.open({ id: "twice", argv: ["cat"] });
        await expect(under.open({ id: "twice" })).rejects.toMatchObject({ reason: "host_unavailable" });
        first.stdin.end("unharmed");
        expect(await text(first.stdout)).toBe("unharmed");
        expect((await first.ended).process).toEqual({ kind: "exited", exitCode: 0 });
        await first.close();
      });

      it("rejects at once when the signal has been aborted before", async () => {
        await expect(under.open({}, AbortSignal.abort(new Error("too late")))).rejects.toThrow("too late");
      });
    });

    describe("files that it brings along", () => {
      const file = (path: string, content: string | Buffer, mode = 0o644) => ({
        path,
        mode,
        content: Buffer.from(content),
      });

      it("are there before the program is, whole, the user's, with their permissions, and its input comes after them", async () => {
        const big = randomBytes(3 * MIB + 1);
        const files = [
          file("/work/deep/down/tool", "#!/bin/sh\necho tool says $(cat)\n", 0o755),
          file("/etc/hostname", "replaced"),
          file("/work/empty", "", 0o600),
          file("/work/big", big),
        ];
        const script =
          "stat -c '%n %U %a %s' /work/deep /work/deep/down/tool /work/empty; cat /etc/hostname; echo; sha256sum < /work/big; exec /work/deep/down/tool";
        const { stdout, end } = await under.sh(script, { files, user: "app", stdin: "hello" });
        const hash = createHash("sha256").update(big).digest("hex");
        expect(stdout.split("\n")).toEqual([
          expect.stringMatching(/^\/work\/deep app 755 /),
          expect.stringMatching(/^\/work\/deep\/down\/tool app 755 32$/),
          "/work/empty app 600 0",
          "replaced",
          `${hash}  -`,
          "tool says hello",
          "",
        ]);
        expect(end.process).toEqual({ kind: "exited", exitCode: 0 });
      });

      it("are led out of the container by nothing in the image, and replace a symlink or FIFO that is in their place", async () => {
        const name = `mayfly-escape-${randomBytes(6).toString("hex")}`;
        const links = {
          up: "../../../../../../../..",
          abs: "/",
          own: "/proc/1/root",
          here: "/proc/self/cwd",
          leaf: "/etc/passwd",
        };
        const layer = buildLayer([
          ...Object.entries(links).map(([path, target]) => ({ path, type: "symlink" as const, linkTarget: target })),
          { path: "fifo", type: "fifo" as const },
        ]);
        const hostile = await busyboxImage({}, { layers: [await busyboxLayer(), layer] });
        const { reference } = await pushImage(under.registry, `hostile:${name}`, hostile);
        const image = await under.runtime.ensureImage(reference, AbortSignal.timeout(60_000));
        const ways = ["up", "abs", "own", "here"];
        const files = [
          ...ways.map((way) => file(`/${way}/${name}-${way}`, way)),
          file("/leaf", "a leaf"),
          file("/fifo", "no fifo"),
        ];
        const script = `cat ${ways.map((way) => `/${name}-${way}`).join(" ")} /leaf /fifo; head -n1 /etc/passwd`;
        const { stdout } = await under.sh(script, { files, image });
        image.release();
        expect(stdout).toMatch(/^upabsownherea leafno fiforoot:/);
        for (const way of ways) expect(existsSync(`/${name}-${way}`)).toBe(false);
      });

      it("find no directory of the host among the init's descriptors", async () => {
        for (let fd = 0; fd < 16; fd++)
          await expect(under.open({ files: [file(`/proc/self/fd/${fd}/x`, "x")] })).rejects.toMatchObject({
            reason: "invalid_field",
          });
      });

      it.each([
        ["where a file is in the way", "/etc/passwd/below"],
        ["where a directory is", "/etc"],
        ["in what the container may not write", "/proc/sys/kernel/hostname"],
        ["in the init's own memory", "/proc/1/mem"],
      ])("that cannot be written are named: %s", async (_, path) => {
        await expect(under.open({ files: [file("/fine", "x"), file(path, "x")] })).rejects.toMatchObject({
          reason: "invalid_field",
          details: { field: "files.1" },
        });
      });

      it("that are more than the writable layer holds are named", async () => {
        const files = [file("/fine", "x"), file("/big", Buffer.alloc(2 * MIB))];
        await expect(under.open({ files, limits: limits({ diskBytes: MIB }) })).rejects.toMatchObject({
          reason: "invalid_field",
          message: expect.stringContaining("No space left"),
          details: { field: "files.1" },
        });
      });
    });

    artifactsContract(() => under);
    describe("files that come while they are written", () => {
      const file = (path: string, content: Buffer, mode = 0o644) => ({
        ...{ path, mode, bytes: content.length },
        content: inChunks(content, 100_000),
      });

      it("are there before the program is, directories too, with those that came at once behind them, and then its input", async () => {
        const big = randomBytes(20 * MIB + 1);
        const many = Array.from({ length: 2000 }, (_, i) => file(`/work/many/${i}`, Buffer.from(`${i}`)));
        async function* streamed() {
          yield file("/work/big", big);
          yield file("/work/empty/below/", Buffer.alloc(0), 0o700);
          yield file("/etc/", Buffer.alloc(0));
          yield* many;
          yield file("/work/twice", Buffer.from("streamed"), 0o600);
        }
        const files = [{ path: "/work/twice", mode: 0o640, content: Buffer.from("at once") }];
        const script =
          "stat -c '%n %U %a' /work/empty /work/empty/below /etc /work/twice; sha256sum < /work/big; ls /work/many | wc -l; cat /work/many/1999 /work/twice -";
        const { stdout } = await under.sh(script, {
          ...{ streamed: streamed(), files, user: "app", stdin: ", hello" },
          limits: limits({ memoryBytes: 96 * MIB, diskBytes: 48 * MIB }),
        });
        const hash = createHash("sha256").update(big).digest("hex");
        expect(stdout.split("\n")).toEqual([
          ...["/work/empty app 755", "/work/empty/below app 755", "/etc root 755", "/work/twice app 640"],
          ...[`${hash}  -`, "2000", "1999at once, hello"],
        ]);
      });

      it("and fail to come fail the sandbox with their own reason", async () => {
        async function* streamed() {
          yield file("/work/a", randomBytes(MIB));
          throw new Error("gone in the middle");
        }
        await expect(under.open({ streamed: streamed() })).rejects.toThrow("gone in the middle");
      });

      it("are not read on once one of them could not be written", async () => {
        let isOver = false;
        async function* streamed() {
          try {
            for (let i = 0; i < 1000; i++) yield file(`/work/${i}`, randomBytes(MIB));
          } finally {
            isOver = true;
          }
        }
        await expect(
          under.open({ streamed: streamed(), limits: limits({ diskBytes: 2 * MIB }) }),
        ).rejects.toMatchObject({
          reason: "invalid_field",
          message: expect.stringMatching(/^files\.[12] cannot be .*No space left/),
        });
        await eventually(async () => expect(isOver).toBe(true));
      });

      it("and never end to come are over with the signal", async () => {
        const controller = new AbortController();
        async function* streamed() {
          yield file("/work/a", randomBytes(MIB));
          controller.abort(new Error("enough"));
          for (;;) yield file("/work/a", randomBytes(1000));
        }
        await expect(under.open({ streamed: streamed() }, controller.signal)).rejects.toThrow("enough");
      });
    });

    describe("tells how the program ended, from facts", () => {
      it("gives the exit code", async () => {
        const { end } = await under.sh("exit 42");
        expect(end.process).toEqual({ kind: "exited", exitCode: 42 });
      });

      it("gives the signal that killed it, and does not make an exit code of it", async () => {
        expect((await under.sh("kill -SEGV $$")).end.process).toEqual({ kind: "signaled", signal: "SIGSEGV" });
        expect((await under.sh("kill -KILL $$")).end.process).toEqual({ kind: "signaled", signal: "SIGKILL" });
      });

      it("takes exit code 137 for what it is when nothing ran out of memory", async () => {
        const { end } = await under.sh("exit 137");
        expect(end).toMatchObject({ process: { kind: "exited", exitCode: 137 }, usage: { oomKills: 0 } });
      });

      it("ends with 127 when the program does not exist, and 126 when it is not a program, as shells do", async () => {
        const missing = await under.run({ argv: ["no-such-program"] });
        expect(missing.end.process).toEqual({ kind: "exited", exitCode: 127 });
        expect(missing.stderr).toContain("no-such-program");
        expect((await under.run({ argv: ["/etc/passwd"] })).end.process).toEqual({ kind: "exited", exitCode: 126 });
      });

      it("ends when the program does, and takes its daemons with it", async () => {
        const { end, stdout } = await under.sh("(sleep 300 &) ; (setsid sleep 300 &) ; echo started");
        expect(end.process).toEqual({ kind: "exited", exitCode: 0 });
        expect(stdout).toBe("started\n");
      });

      it("reads the OOM kill and the peak from the cgroup", async () => {
        const { end } = await under.run({ argv: ["tail", "/dev/zero"], limits: limits({ memoryBytes: 32 * MIB }) });
        expect(end.process).toEqual({ kind: "signaled", signal: "SIGKILL" });
        expect(end.usage?.oomKills).toBeGreaterThan(0);
        expect(end.usage?.peakMemoryBytes).toBeGreaterThan(24 * MIB);
        expect(end.usage?.peakMemoryBytes).toBeLessThanOrEqual(32 * MIB);
      });

      it("counts an OOM kill of a child that the program survived", async () => {
        const { end } = await under.sh("tail /dev/zero; exit 0", { limits: limits({ memoryBytes: 32 * MIB }) });
        expect(end.process).toEqual({ kind: "exited", exitCode: 0 });
        expect(end.usage?.oomKills).toBeGreaterThan(0);
      });
    });

    describe("carries bytes", () => {
      it("keeps stdout and stderr apart", async () => {
        const { stdout, stderr } = await under.sh("echo out; echo err >&2");
        expect({ stdout, stderr }).toEqual({ stdout: "out\n", stderr: "err\n" });
      });

      it("gives the program its stdin to the end of file", async () => {
        expect((await under.run({ argv: ["cat"], stdin: "line\n\0binary\xff" })).stdout).toBe("line\n\0binary\xff");
      });

      it("brings 32 MiB through stdin, cat and stdout whole", async () => {
        const bytes = randomBytes(32 * MIB);
        const sandbox = await under.open({ argv: ["cat"] });
        sandbox.stdin.end(bytes);
        const hash = createHash("sha256");
        for await (const chunk of sandbox.stdout) hash.update(chunk);
        await sandbox.ended;
        await sandbox.close();
        expect(hash.digest("hex")).toBe(createHash("sha256").update(bytes).digest("hex"));
      });

      it("slows a program that floods, to the pace of its reader, and loses nothing", async () => {
        const sandbox = await under.open({ argv: ["sh", "-c", "yes | head -c 8000000"] });
        let seen = 0;
        for await (const chunk of sandbox.stdout as AsyncIterable<Buffer>) {
          seen += chunk.length;
          await new Promise(setImmediate);
        }
        await sandbox.ended;
        await sandbox.close();
        expect(seen).toBe(8_000_000);
      });

      it("lets the program reopen its streams as files, whoever it runs as", async () => {
        const { stdout, stderr } = await under.sh("echo a > /dev/stdout; echo b > /dev/stderr; cat < /dev/stdin", {
          user: "app",
          stdin: "c\n",
        });
        expect({ stdout, stderr }).toEqual({ stdout: "a\nc\n", stderr: "b\n" });
      });

      it("does not let a stream that nobody reads hold up the other, or the end of another run", async () => {
        const sandbox = await under.open({ argv: ["sh", "-c", "yes & sleep 0.1; echo heard >&2; wait"] });
        expect(await firstLine(sandbox.stderr)).toBe("heard\n");
        expect((await under.sh("exit 4")).end.process).toEqual({ kind: "exited", exitCode: 4 });
        sandbox.kill();
        expect((await sandbox.ended).process).toEqual({ kind: "signaled", signal: "SIGKILL" });
        await sandbox.close();
      });

      it("does not hang when the program never reads its stdin", async () => {
        const { end } = await under.run({ argv: ["true"], stdin: Buffer.alloc(4 * MIB) });
        expect(end.process).toEqual({ kind: "exited", exitCode: 0 });
      });

      it("ends stdout when the program closes it, though it goes on", async () => {
        const sandbox = await under.open({ argv: ["sh", "-c", "echo last; exec >&-; read wait"] });
        expect(await text(sandbox.stdout)).toBe("last\n");
        sandbox.stdin.end("\n");
        expect((await sandbox.ended).process.kind).toBe("exited");
        await sandbox.close();
      });
    });

    describe("gives a program a terminal", () => {
      const terminal = { rows: 31, columns: 97 };

      it("of the size that was asked for, as its stdin, stdout and stderr, and its controlling terminal", async () => {
        const script = "tty <&0; tty <&1; tty <&2; stty size; echo to the terminal > /dev/tty; ps -o tty | tail -1";
        const { stdout, stderr } = await under.sh(script, { terminal });
        expect(stdout.split("\r\n").slice(0, 5)).toEqual([
          "/dev/pts/0",
          "/dev/pts/0",
          "/dev/pts/0",
          "31 97",
          "to the terminal",
        ]);
        expect(stderr).toBe("");
      });

      it("belongs to whoever the program runs as", async () => {
        const { stdout } = await under.sh("stat -c %u /dev/pts/0; echo mine > /dev/pts/0", { terminal, user: "app" });
        expect(stdout).toBe("1000\r\nmine\r\n");
      });

      it("takes input line by line, echoes it, and makes Ctrl-C a SIGINT and Ctrl-D an end of file", async () => {
        const sandbox = await under.open({
          argv: ["sh", "-c", "trap 'echo interrupted' INT; cat; echo over"],
          terminal,
        });
        const screen = new Screen(sandbox.stdout);
        sandbox.stdin.write("typed\r");
        await screen.shows("typed\r\ntyped\r\n");
        sandbox.stdin.write("\x03");
        await screen.shows("interrupted\r\nover\r\n");
        expect((await sandbox.ended).process).toEqual({ kind: "exited", exitCode: 0 });
        await sandbox.close();

        const second = await under.open({ argv: ["sh", "-c", "cat; echo over"], terminal });
        const secondScreen = new Screen(second.stdout);
        second.stdin.write("\x04");
        await secondScreen.shows("over\r\n");
        await second.ended;
        await second.close();
      });

      it("tells it of another size", async () => {
        const sandbox = await under.open({
          argv: ["sh", "-c", "trap 'stty size' WINCH; echo ready; while :; do sleep 0.02; done"],
          terminal,
        });
        const screen = new Screen(sandbox.stdout);
        await screen.shows("ready");
        sandbox.resize({ rows: 50, columns: 132 });
        await screen.shows("50 132");
        await sandbox.close();
      });

      it("and ends with it, also when a process in the background still holds the terminal", async () => {
        const { end, stdout } = await under.sh("(trap '' HUP; sleep 300) & echo started; exit 3", { terminal });
        expect(end.process).toEqual({ kind: "exited", exitCode: 3 });
        expect(stdout).toBe("started\r\n");
      });

      it("which carries what it floods whole, at the pace of its reader", async () => {
        const { stdout } = await under.sh("yes | head -c 400000", { terminal });
        expect(stdout.length).toBe(600_000); // Each line end is two bytes on a terminal.
      });
    });

    describe("ends a sandbox from outside", () => {
      it("passes SIGTERM to the program, which may have the last word", async () => {
        const sandbox = await under.open({
          argv: ["sh", "-c", "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done"],
        });
        await firstLine(sandbox.stdout);
        sandbox.signal("SIGTERM");
        expect((await sandbox.ended).process).toEqual({ kind: "exited", exitCode: 7 });
        await sandbox.close();
      });

      it("ends a program that does not handle SIGTERM by it, though a PID 1 would ignore it", async () => {
        const sandbox = await under.open({ argv: ["sleep", "300"] });
        sandbox.signal("SIGTERM");
        expect((await sandbox.ended).process).toEqual({ kind: "signaled", signal: "SIGTERM" });
        await sandbox.close();
      });

      it("kills everything at once, also what ignores signals and has left the session", async () => {
        const sandbox = await under.open({ argv: ["sh", "-c", "trap '' TERM; setsid sleep 300 & echo up; sleep 300"] });
        await firstLine(sandbox.stdout);
        sandbox.kill();
        expect((await sandbox.ended).process).toEqual({ kind: "signaled", signal: "SIGKILL" });
        await sandbox.close();
      });

      it("kills a sandbox whose deadline passes, and does not call that an end of the program's own", async () => {
        const sandbox = await under.open({ argv: ["sleep", "300"], deadlineMs: 4_000 });
        await expect(sandbox.ended).rejects.toMatchObject({
          reason: "host_unavailable",
          details: { stage: "deadline" },
        });
        await sandbox.close();
      });

      it("starts nothing once the deadline has passed while it was being made", async () => {
        for (let deadlineMs = 1; deadlineMs <= 70; deadlineMs += 3) {
          const opening = under.open({ argv: ["sh", "-c", "sleep 300"], deadlineMs });
          const sandbox = await opening.catch(() => undefined);
          if (sandbox) await expect(sandbox.ended).rejects.toMatchObject({ reason: "host_unavailable" });
          await sandbox?.close();
          expect((await traces(under.host)).processes).toEqual([]);
        }
      });

      it("can be extended before it has been made", async () => {
        const { image } = under;
        const spec = {
          id: "guarded",
          image,
          argv: ["sh", "-c", "exit 6"],
          env: [...image.config.env],
          workdir: "/",
          user: "",
          hostname: "h",
          limits: limits({}),
          deadlineMs: 40, // A busy machine may take a while to look at its first message.
        };
        const sandbox = await under.runtime.openSandbox(spec, AbortSignal.timeout(30_000), (extend) => extend(30_000));
        expect((await sandbox.ended).process).toEqual({ kind: "exited", exitCode: 6 });
        await sandbox.close();
      });

      it("lets a sandbox live whose deadline is extended", async () => {
        const sandbox = await under.open({ argv: ["sh", "-c", "read line; exit 5"], deadlineMs: 4_000 });
        sandbox.extend(30_000);
        await new Promise((resolve) => setTimeout(resolve, 4_100)); // The first deadline is what is waited for.
        sandbox.stdin.end("go\n");
        expect((await sandbox.ended).process).toEqual({ kind: "exited", exitCode: 5 });
        await sandbox.close();
      });

      it("may be closed at any time, and again", async () => {
        const sandbox = await under.open({ argv: ["sleep", "300"] });
        await Promise.all([sandbox.close(), sandbox.close()]);
        await sandbox.close();
        expect((await sandbox.ended).process).toEqual({ kind: "signaled", signal: "SIGKILL" });
      });

      it.each(["SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const)("passes %s on", async (signal) => {
        const sandbox = await under.open({ argv: ["sleep", "300"] });
        sandbox.signal(signal);
        expect((await sandbox.ended).process).toEqual({ kind: "signaled", signal });
        await sandbox.close();
      });

      it("is not held up by a program that stops PID 1's children or floods it with signals", async () => {
        const sandbox = await under.open({
          argv: ["sh", "-c", "trap '' TERM; kill -STOP 1; kill -TERM 1; kill -KILL 1; echo still; kill -STOP $$"],
        });
        await firstLine(sandbox.stdout);
        sandbox.kill();
        expect((await sandbox.ended).process).toEqual({ kind: "signaled", signal: "SIGKILL" });
        await sandbox.close();
      });
    });

    describe("gives the program what the image and the request say", () => {
      it("runs as a user by name, with its groups and home", async () => {
        expect((await under.sh("id -u; id -g; echo $HOME", { user: "app" })).stdout).toBe("1000\n1000\n/home/app\n");
      });

      it("runs as a user and group by number, known to the image or not", async () => {
        expect((await under.sh("id -u; id -g", { user: "4321:8765" })).stdout).toBe("4321\n8765\n");
      });

      it("gives a user other than root no capabilities, and container root Docker's fourteen", async () => {
        const effective = async (user: string) =>
          (await under.sh("grep CapEff /proc/self/status", { user })).stdout.split("\t")[1]?.trim();
        expect(await effective("app")).toBe("0000000000000000");
        expect(await effective("")).toBe("00000000a80425fb");
      });

      it("makes the working directory if it is missing, and starts there", async () => {
        expect((await under.run({ argv: ["pwd"], workdir: "/made/for/this" })).stdout).toBe("/made/for/this\n");
      });

      it("gives it the environment that was asked for and nothing of the host's", async () => {
        const { stdout } = await under.run({ argv: ["env"], env: ["A=1", "EMPTY=", "SPACED=a b=c"] });
        const names = stdout.trim().split("\n").sort();
        expect(names).toEqual([
          "A=1",
          "EMPTY=",
          "HOME=/root",
          "HOSTNAME=mayfly-test",
          expect.stringMatching(/^PATH=/),
          "SPACED=a b=c",
        ]);
      });

      it("gives it three descriptors and no more", async () => {
        const { stdout } = await under.sh("ls /proc/self/fd");
        expect(stdout).toBe("0\n1\n2\n3\n"); // 3 is the directory that ls itself reads.
      });

      it("lets it write to its own file system, which is gone afterwards", async () => {
        expect((await under.sh("echo x > /etc/mark && cat /etc/mark")).stdout).toBe("x\n");
        expect((await under.sh("cat /etc/mark")).end.process).toEqual({ kind: "exited", exitCode: 1 });
      });
    });

    describe("enforces limits by cgroup", () => {
      it("keeps a fork bomb within its pids", async () => {
        const bomb = "i=0; while [ $i -lt 500 ]; do sleep 30 & i=$((i+1)); done; echo escaped";
        const { end, stdout, stderr } = await under.sh(bomb, { limits: limits({ pids: 16 }) });
        expect(stdout).not.toContain("escaped");
        expect(stderr).toContain("fork");
        expect(end.process.kind).toBe("exited");
      });

      it("holds a program of few processes to them, though a runtime may need more to start it", async () => {
        const { stdout, stderr } = await under.sh("sleep 0.3; sleep 9 & sleep 9 & sleep 9 & echo escaped", {
          limits: limits({ pids: 3 }),
        });
        expect(stderr).toContain("fork");
        expect(stdout).not.toContain("escaped");
      });

      it("runs a program that has a single process to itself", async () => {
        expect((await under.run({ argv: ["true"], limits: limits({ pids: 1 }) })).end.process).toEqual({
          kind: "exited",
          exitCode: 0,
        });
      });

      it("slows a busy program to its share of a CPU", async () => {
        const { end } = await under.sh("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done", {
          limits: limits({ cpus: 0.2 }),
        });
        expect(end.usage?.throttledMs).toBeGreaterThan(0);
      });

      it("ends the writable layer at its size, with no space left", async () => {
        const { stdout, stderr } = await under.sh(
          "dd if=/dev/zero of=/big bs=1M count=64; ls -l /big | awk '{print $5}'",
          {
            limits: limits({ diskBytes: 4 * MIB }),
          },
        );
        expect(stderr).toContain("No space left");
        expect(Number(stdout)).toBeLessThanOrEqual(4 * MIB);
      });

      it("holds what is written against memory too", async () => {
        const { end } = await under.sh("dd if=/dev/zero of=/big bs=1M count=64", {
          limits: limits({ memoryBytes: 24 * MIB, diskBytes: 64 * MIB }),
        });
        expect(end.usage?.oomKills).toBeGreaterThan(0);
      });
    });

    describe("isolates", () => {
      it("maps container root to a user that is nobody on the host", async () => {
        const { stdout } = await under.sh("cat /proc/self/uid_map /proc/self/gid_map");
        const [uid, gid] = stdout
          .trim()
          .split("\n")
          .map((line) => line.trim().split(/\s+/).map(Number));
        expect([uid, gid]).toEqual([
          [0, DEFAULT_UID_BASE, 65_536],
          [0, DEFAULT_UID_BASE, 65_536],
        ]);
      });

      it("gives every namespace anew", async () => {
        const kinds = ["pid", "mnt", "ipc", "uts", "net", "cgroup", "user"];
        const { stdout } = await under.sh(kinds.map((kind) => `readlink /proc/self/ns/${kind}`).join("; "));
        const inside = stdout.trim().split("\n");
        const outside = await Promise.all(kinds.map((kind) => readlink(`/proc/self/ns/${kind}`)));
        expect(inside).toHaveLength(kinds.length);
        expect(inside.filter((namespace) => outside.includes(namespace))).toEqual([]);
      });

      it("shows no process but its own", async () => {
        const { stdout } = await under.sh("ls -d /proc/[0-9]*");
        expect(stdout.trim().split("\n").length).toBeLessThanOrEqual(3);
      });

      it("has a loopback interface and no other, and reaches nobody", async () => {
        const { stdout } = await under.sh(
          "ls /sys/class/net; wget -T 1 -q -O- http://198.51.100.1/ || echo unreachable; cat /proc/net/route | tail -n +2",
        );
        expect(stdout).toBe("lo\nunreachable\n");
      });

      it("sets no-new-privileges and a seccomp filter", async () => {
        const { stdout } = await under.sh("grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status");
        expect(stdout).toBe("NoNewPrivs:\t1\nSeccomp:\t2\n");
      });

      it("does not spare its programs when the host runs out of memory", async () => {
        expect((await under.sh("cat /proc/self/oom_score_adj /proc/1/oom_score_adj")).stdout).toBe("0\n0\n");
      });

      it("does not let a setuid program gain anything", async () => {
        const make = "cp /bin/busybox /tmp/busybox && chown 0:0 /tmp/busybox && chmod 4755 /tmp/busybox";
        const { stdout } = await under.sh(`${make} && su app -s /bin/sh -c '/tmp/busybox id -u'`);
        expect(stdout).toBe("1000\n");
      });

      it.each([
        ["mounts anything", "mount -t tmpfs none /mnt"],
        ["makes a namespace", "unshare -U true"],
        ["makes a device node", "mknod /tmp/disk b 254 0"],
        ["writes a kernel setting", "echo 1 > /proc/sys/kernel/panic"],
        ["triggers the SysRq key", "echo b > /proc/sysrq-trigger"],
        ["writes to sysfs", "echo 0 > /sys/kernel/mm/ksm/run"],
        [
          "changes its own cgroup limits",
          "echo 999999999 > /sys/fs/cgroup/memory/memory.limit_in_bytes || echo max > /sys/fs/cgroup/memory.max",
        ],
        ["makes a cgroup", "mkdir /sys/fs/cgroup/memory/x || mkdir /sys/fs/cgroup/x"],
        ["changes the host name", "hostname other"],
        ["reads the memory of PID 1", "cat /proc/1/environ > /dev/null"],
        ["reaches the descriptors of PID 1", "readlink /proc/1/fd/3 || cat /proc/1/fd/3 || echo x > /proc/1/fd/3"],
        ["reaches the root of PID 1", "ls /proc/1/root/"],
        ["loads a kernel module", "insmod /tmp/none.ko"],
        ["sets the clock", "date -s 2001-01-01; [ $(date +%Y) = 2001 ]"],
        ["reads the kernel log", "dmesg"],
        ["chroots out and up", "mkdir -p /tmp/x && chroot /tmp/x /bin/sh -c 'cd ../../../..; ls home'"],
      ])("refuses a container root that %s", async (_what, script) => {
        const { end } = await under.sh(`(${script}) 2>/dev/null`);
        expect(end.process.kind === "exited" && end.process.exitCode !== 0).toBe(true);
      });

      it("masks what tells of the host", async () => {
        const { stdout } = await under.sh(
          "cat /proc/kcore /proc/keys /proc/timer_list 2>/dev/null | wc -c; ls /proc/acpi /proc/scsi /sys/firmware 2>/dev/null | grep -v : | wc -w",
        );
        expect(stdout.trim().split(/\s+/)).toEqual(["0", "0"]);
      });

      it("has in /dev what a program needs and nothing of the host's disks", async () => {
        const { stdout } = await under.sh("ls /dev");
        const expected = [
          "fd",
          "full",
          "mqueue",
          "null",
          "ptmx",
          "pts",
          "random",
          "shm",
          "stderr",
          "stdin",
          "stdout",
          "tty",
          "urandom",
          "zero",
        ];
        expect(
          stdout
            .trim()
            .split("\n")
            // What an OCI runtime adds, and the init where it has to be mounted.
            .filter((name) => !["core", "console", "mayfly-init"].includes(name)),
        ).toEqual(expected);
      });

      it("inherits no process group, session, umask, blocked or ignored signal of the host's", async () => {
        const script = "umask; grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status; cut -d' ' -f5,6 /proc/self/stat";
        const { stdout } = await under.run({ argv: ["sh", "-c", script] });
        const [umask, blocked, ignored, , ids] = stdout.trim().split("\n");
        expect(umask).toBe("0022");
        expect(blocked).toMatch(/\t0+$/);
        expect(ignored).toMatch(/\t0+$/);
        expect(ids).toMatch(/^(\d+) \1$/); // Its own session, and the leader of it.
      });

      it("sets the limits of a process", async () => {
        const { stdout } = await under.sh("ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc; hostname");
        expect(stdout).toBe("1024\n4096\n0\n0\nmayfly-test\n");
      });

      it("lets container root bind a low port in its own network", async () => {
        const { stdout } = await under.sh(
          "(sleep 0.3 | nc -l -p 80 &) ; sleep 0.1; echo hi | nc -w 1 127.0.0.1 80 && echo bound",
        );
        expect(stdout).toContain("bound");
      });

      it("has a shared memory of 64 MiB and message queues of its own, both empty", async () => {
        const { stdout } = await under.sh(
          "df -k /dev/shm | tail -1 | awk '{print $2}'; ls /dev/shm /dev/mqueue | grep -v : | wc -w",
        );
        expect(stdout.trim().split(/\s+/)).toEqual(["65536", "0"]);
      });

      it("shows a program its own cgroup's limit, and no other cgroup", async () => {
        const script =
          "cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max; cut -d: -f3 /proc/self/cgroup | sort -u";
        const { stdout } = await under.sh(`(${script}) 2>/dev/null`, { limits: limits({ memoryBytes: 48 * MIB }) });
        expect(stdout).toBe(`${48 * MIB}\n/\n`);
      });

      it("has no controlling terminal, and no keys of the host's", async () => {
        const { end } = await under.sh("echo x > /dev/tty");
        expect(end.process).toEqual({ kind: "exited", exitCode: 1 });
      });
    });

    it("removes on a restart what an earlier life left behind", async () => {
      const sandbox = await under.open({ argv: ["sleep", "300"] });
      const again = await under.restart();
      const { sandboxes } = await again.removeLeftovers();
      expect(sandboxes).toHaveLength(1);
      await sandbox.close();
      await again.close();
    });
  });
}

function limits(changes: { cpus?: number; memoryBytes?: number; pids?: number; diskBytes?: number }) {
  return { cpus: 1, memoryBytes: 64 * MIB, pids: 64, diskBytes: 16 * MIB, ...changes };
}

/** What a program has written to its terminal so far. */
class Screen {
  #seen = "";
  #wake = () => {};

  constructor(stream: NodeJS.ReadableStream) {
    stream.on("data", (chunk: Buffer) => {
      this.#seen += chunk.toString("utf8");
      this.#wake();
    });
  }

  async shows(text: string): Promise<void> {
    while (!this.#seen.includes(text)) await new Promise<void>((resolve) => (this.#wake = resolve));
  }
}

/** Waits for the program to say that it is there. */
async function firstLine(stream: NodeJS.ReadableStream): Promise<string> {
  return new Promise((resolve, reject) => {
    let seen = "";
    const hear = (chunk: Buffer) => {
      seen += chunk.toString("utf8");
      if (!seen.includes("\n")) return;
      stream.off("data", hear);
      resolve(seen);
    };
    stream.on("data", hear);
    stream.once("end", () => reject(new Error(`ended after ${JSON.stringify(seen)}`)));
  });
}
