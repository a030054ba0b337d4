import { createServer } from "node:net";
import { expect, it } from "vitest";
import { freePort } from "../../../infra/ports.ts";

it("gives the preferred port if it is free, and else the next that is", async () => {
  const server = createServer();
  const taken = await new Promise<number>((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port));
  });
  expect(await freePort(taken)).toBeGreaterThan(taken);
  await new Promise((resolve) => server.close(resolve));
  expect(await freePort(taken)).toBe(taken);
});

it("rejects an address that is not this machine's", async () => {
  await expect(freePort(8080, "192.0.2.1")).rejects.toThrow("EADDRNOTAVAIL");
});
