// Interactive runs against all of it: the real command at a real pseudo-terminal, real gateway, queue and worker, and a shell in a
// container that has a terminal of its own.

import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Cluster, startCluster } from "../helpers/cluster.ts";
import { type PseudoTerminal, type Size, sitDown } from "../helpers/pseudo-terminal.ts";

let cluster: Cluster;
const terminals: PseudoTerminal[] = [];

beforeAll(async () => {
  cluster = await startCluster();
});
afterEach(() => {
  for (const terminal of terminals.splice(0)) terminal.leave();
});
afterAll(() => cluster.stop());

/** At the prompt of a shell in a container. What is typed is echoed, so marks are typed in two parts that the shell joins. */
async function shell(size: Size = { rows: 30, columns: 90 }): Promise<PseudoTerminal> {
  const args = ["run", "-it", "-e", "PS1=prompt> ", cluster.image, "sh"];
  const terminal = await sitDown({ args, env: { MAYFLY_URL: cluster.url }, size });
  terminals.push(terminal);
  await terminal.shows(/prompt> /);
  return terminal;
}

describe("mayfly run -it", () => {
  it("gives the program a controlling terminal of the window's size, and the shell its job control", async () => {
    const terminal = await shell();
    expect(terminal.screen).not.toMatch(/job control/);
    terminal.type("tty; stty size; echo $TERM; test -t 0 && test -t 1 && test -t 2 && echo all'' three > /dev/tty\r");
    await terminal.shows(/\n\/dev\/pts\/\d+\r+\n30 90\r+\nxterm\r+\nall three\r+\n/);
    terminal.type("exit\r");
    expect((await terminal.ended).exitCode).toBe(0);
  });

  it("tells the program of a window that changes, by SIGWINCH", async () => {
    const terminal = await shell();
    // A shell without job control: with it the foreground would be the sleep's alone.
    const script = `trap "echo now \\$(stty size)" WINCH; echo tr""apped; while :; do sleep 0.05; done`;
    terminal.type(`sh -c '${script}'\r`);
    await terminal.shows(/\ntrapped/);
    await terminal.resize({ rows: 50, columns: 132 });
    await terminal.shows(/now 50 132/);
    terminal.type("\x03");
    await terminal.shows(/prompt> /);
    terminal.type("exit\r");
    await terminal.ended;
  });

  it("leaves Ctrl-C to the program: what runs in the shell is interrupted, and the shell goes on", async () => {
    const terminal = await shell();
    terminal.type("echo be''gun; sleep 100\r");
    await terminal.shows(/\nbegun/);
    terminal.type("\x03");
    await terminal.shows(/prompt> /);
    terminal.type("echo al''ive $?\r");
    await terminal.shows(/\nalive 130/);
    terminal.type("exit\r");
    await terminal.ended;
  });

  it("ends with the shell at Ctrl-D, with its exit code, and the terminal is as it was", async () => {
    const terminal = await shell();
    terminal.type("(exit 3)\r");
    await terminal.shows(/prompt> /);
    terminal.type("\x04");
    const { exitCode, before, after } = await terminal.ended;
    expect({ exitCode, after }).toEqual({ exitCode: 3, after: before });
  });

  it("gives the terminal back when the program leaves its own in disorder, and when it is killed", async () => {
    const untidy = await shell();
    untidy.type("stty raw -echo; exit 5\r");
    expect(await untidy.ended).toMatchObject({ exitCode: 5, after: (await untidy.ended).before });
    const killed = await shell();
    killed.type("kill -KILL $$\r");
    expect(await killed.ended).toMatchObject({ exitCode: 137, after: (await killed.ended).before });
  });

  it("shows a full screen as the program draws it, though its line feeds are bare", async () => {
    const terminal = await shell();
    terminal.type("stty -opost; printf '[%s\\n%s]' one two; stty opost\r");
    await terminal.shows(/\[one\vtwo\]/);
    terminal.type("exit\r");
    await terminal.ended;
  });

  it("leaves the run going at Ctrl-P Ctrl-Q, which is then cancelled as any other", async () => {
    const terminal = await shell();
    terminal.type("\x10\x11");
    expect((await terminal.ended).exitCode).toBe(0);
    const id = /(run_\w{26})\r\n$/.exec(terminal.screen)?.[1] ?? "";
    expect((await cluster.get(id)).state).toBe("running");
    expect((await cluster.fetch(`/v1/runs/${id}/signal`, signal("SIGKILL"))).status).toBe(202);
    expect((await cluster.get(id, 30)).outcome).toEqual({ kind: "signaled", signal: "SIGKILL" });
  });
});

describe("a run with a terminal, by the API", () => {
  const terminal = { rows: 24, columns: 80 };

  it("has all of its output in stdout, as a terminal shows it", async () => {
    const run = await cluster.run({ terminal, command: ["sh", "-c", "echo out; echo err >&2"] });
    expect(run).toMatchObject({ outcome: { kind: "exited", exitCode: 0 }, stdout: { data: "out\r\nerr\r\n" } });
    expect(run.stderr).toMatchObject({ bytesSeen: 0 });
  });

  it("is typed the stdin that came with the request", async () => {
    const run = await cluster.run({ terminal, stdin: "exit 4\n", command: ["sh"] });
    expect(run.outcome).toEqual({ kind: "exited", exitCode: 4 });
  });

  it("is made with the size that was told last before it began", async () => {
    const waiting = await cluster.submit({ terminal, pool: "patient", command: ["stty", "size"] });
    const size = JSON.stringify({ rows: 50, columns: 132 });
    const headers = { "content-type": "application/json" };
    const answer = await cluster.fetch(`/v1/runs/${waiting.id}/resize`, { method: "POST", body: size, headers });
    expect(answer.status).toBe(204);
    await cluster.startWorker({ MAYFLY_POOL: "patient" });
    expect(await cluster.get(waiting.id, 60)).toMatchObject({ stdout: { data: "50 132\r\n" } });
  });
});

function signal(name: string): RequestInit {
  const headers = { "content-type": "application/json" };
  return { method: "POST", body: JSON.stringify({ signal: name }), headers };
}
