// The embedded Redis: on loopback, with a password, and every write in its append-only file.

import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { join } from "node:path";
import { type Place, privateOnce, writePrivate } from "./place.ts";
import { LOOPBACK } from "./ports.ts";
import { PLAIN_ENVIRONMENT } from "./settings.ts";

/** A large append-only file is read before the first answer. */
const READY_MS = 60_000;
const ANSWER_MS = 2_000;

export interface Redis {
  readonly port: number;
  /** A file with the URL, password included. */
  readonly urlFile: string;
}

/** Resolves when it answers. Its data and its password are those of the place's last Redis. */
export async function startRedis(place: Place, port: number): Promise<Redis> {
  const directory = place.directory("redis");
  const password = privateOnce(join(directory, "password"), () => randomBytes(24).toString("hex"));
  const configFile = join(directory, "redis.conf");
  writePrivate(configFile, configOf({ directory, port, password }));
  const urlFile = join(directory, "url");
  writePrivate(urlFile, `redis://:${password}@${LOOPBACK}:${port}/0\n`);
  const server = place.launch("redis", ["redis-server", configFile], PLAIN_ENVIRONMENT);
  await server.answers(() => ping(port, password), READY_MS);
  return { port, urlFile };
}

/** In a file and not on the command line, where everybody could read the password. */
function configOf({ directory, port, password }: { directory: string; port: number; password: string }): string {
  const lines = [
    `bind ${LOOPBACK}`,
    `port ${port}`,
    `requirepass ${password}`,
    `dir ${JSON.stringify(directory)}`,
    "daemonize no",
    // What was accepted is kept: at most the last second is lost if the machine is.
    "appendonly yes",
    "appendfsync everysec",
    'save ""',
    // A run that was accepted is never evicted to make room.
    "maxmemory-policy noeviction",
  ];
  return `${lines.join("\n")}\n`;
}

/** Resolves if Redis takes the password and answers PONG; while it loads its data it answers an error. */
function ping(port: number, password: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = connect({ host: LOOPBACK, port }, () => socket.write(`AUTH ${password}\r\nPING\r\n`));
    const refuse = (error: Error) => {
      socket.destroy();
      reject(error);
    };
    socket.setEncoding("utf8").setTimeout(ANSWER_MS, () => refuse(new Error("no answer")));
    socket.once("error", refuse).once("end", () => refuse(new Error("it hung up")));
    socket.on("data", (part: string) => {
      text += part;
      if (/(^|\n)-/.test(text)) return refuse(new Error(text.trim()));
      if (text !== "+OK\r\n+PONG\r\n") return;
      socket.destroy();
      resolve();
    });
  });
}
