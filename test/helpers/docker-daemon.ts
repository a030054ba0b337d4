// Docker's own daemon for tests, with nothing of the machine's: state, socket and pid file in a directory of its own, no network.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { finished, runProgram, startProcess } from "../../runtime/host/command.ts";

export interface DockerDaemon {
  /** Runs `docker ARGS` to its end. Answers with its output. */
  docker(...args: string[]): Promise<string>;
  /** Ends the daemon and removes its state. */
  stop(): Promise<void>;
}

/** Resolves when the daemon answers. */
export async function startDocker(): Promise<DockerDaemon> {
  const room = await mkdtemp(join(tmpdir(), "mayfly-docker-"));
  const socket = `unix://${room}/docker.sock`;
  await writeFile(join(room, "config.json"), "{}"); // Else it would read the machine's.
  const paths = ["--data-root", join(room, "data"), "--exec-root", join(room, "exec"), "--pidfile", join(room, "pid")];
  const isolation = ["--bridge", "none", "--iptables=false", "--ip6tables=false", "--storage-driver", "overlay2"];
  const config = ["--host", socket, "--config-file", join(room, "config.json")];
  const child = startProcess(["dockerd", ...config, ...paths, ...isolation], { stdio: ["ignore", "ignore", "pipe"] });
  const ended = finished(child);
  const stop = async () => {
    child.kill("SIGTERM");
    await ended;
    await rm(room, { recursive: true, force: true });
  };
  try {
    await Promise.race([hasSaid(child.stderr as Readable, "API listen on"), ended.then(neverReady)]);
  } catch (error) {
    await stop();
    throw error;
  }
  return { docker: (...args) => runProgram(["docker", "--host", socket, ...args]), stop };
}

/** The daemon logs it when it takes requests. */
function hasSaid(log: Readable, words: string): Promise<void> {
  return new Promise((resolve) => {
    let text = "";
    log.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      if (text.includes(words)) resolve();
      text = text.slice(-words.length); // They may come in two parts.
    });
  });
}

function neverReady({ stderrTail }: { stderrTail: string }): never {
  throw new Error(`dockerd ended before it was ready: ${stderrTail}`);
}
