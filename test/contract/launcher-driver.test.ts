// The launcher driver: with blanks kept ready, and with none, where each sandbox is made when it is asked for.

import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { expect, it } from "vitest";
import { makeRuntime } from "../helpers/runtime.ts";
import { sandboxDriverContract } from "./sandbox-driver.ts";

sandboxDriverContract("launcher (with blanks)", () => makeRuntime({ driver: "launcher", blanks: { min: 4, max: 16 } }));
sandboxDriverContract("launcher (without)", () => makeRuntime({ driver: "launcher", blanks: { min: 0, max: 0 } }));

it("brings 1 GiB through stdin, cat and stdout whole", { timeout: 600_000 }, async () => {
  const under = await makeRuntime({ driver: "launcher" });
  const sandbox = await under.open({ argv: ["cat"], deadlineMs: 600_000 });
  const piece = randomBytes(2 ** 20);
  const [sent, heard] = [createHash("sha256"), createHash("sha256")];
  const feed = async () => {
    for (let i = 0; i < 1024; i++) {
      sent.update(piece);
      if (!sandbox.stdin.write(piece)) await once(sandbox.stdin, "drain");
    }
    sandbox.stdin.end();
  };
  const feeding = feed();
  let bytes = 0;
  for await (const chunk of sandbox.stdout as AsyncIterable<Buffer>) {
    heard.update(chunk);
    bytes += chunk.length;
  }
  await feeding;
  expect((await sandbox.ended).process).toEqual({ kind: "exited", exitCode: 0 });
  await sandbox.close();
  await under.stop();
  expect(bytes).toBe(2 ** 30);
  expect(heard.digest("hex")).toBe(sent.digest("hex"));
});
