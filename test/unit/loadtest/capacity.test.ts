// Measuring what a target does, with a gateway that only pretends.

import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { afterEach, expect, it } from "vitest";
import { measureCapacity } from "../../../loadtest/capacity.ts";

const PHASES = { queue: 1, pull: 1, prepare: 1, start: 1, run: 1, collect: 1 };
const TIMING = Object.keys(PHASES).map((phase) => `${phase};dur=1`);

let server: Server;
let open = 0;
let most = 0;
afterEach(() => void server.close());

/** Answers each run of `echo TOKEN` with what `said` makes of the token. */
async function gatewayThat(said: (token: string) => string): Promise<string> {
  server = createServer(async (request, response) => {
    most = Math.max(most, ++open);
    const { command } = (await json(request)) as { command: string[] };
    await new Promise((resolve) => setTimeout(resolve, 5));
    open--;
    const run = {
      state: "finished",
      outcome: { kind: "exited", exitCode: 0 },
      stdout: { data: said(command[1] ?? ""), truncated: false },
      receipt: { phases: PHASES },
    };
    response.writeHead(200, { "server-timing": TIMING.join(", ") }).end(JSON.stringify(run));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

it("counts the runs that end as they must, several at a time", async () => {
  const url = await gatewayThat((token) => `${token}\n`);
  expect(await measureCapacity({ url, image: "busybox" }, ["echo"], 200)).toBeGreaterThan(0);
  expect(most).toBeGreaterThan(1);
});

it("gives no figure for a target that answers wrongly", async () => {
  const url = await gatewayThat(() => "token-of-somebody-else\n");
  await expect(measureCapacity({ url, image: "busybox" }, ["echo"], 200)).rejects.toThrow("has printed something else");
});
