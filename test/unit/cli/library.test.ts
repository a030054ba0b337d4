// The package's face, against a gateway in this process.

import { afterEach, describe, expect, it } from "vitest";
import type { ClientOptions } from "../../../cli/client.ts";
import { Mayfly, MayflyError } from "../../../cli/library.ts";
import { createPatience } from "../../../cli/patience.ts";
import { FakeGateway, type FakeOptions, instead, json, problem } from "./fake-gateway.ts";

let gateway: FakeGateway;
let mayfly: Mayfly;

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

async function start(options: FakeOptions = {}, own: Partial<ClientOptions> = {}): Promise<void> {
  gateway = await new FakeGateway(options).listen();
  mayfly = new Mayfly({ url: gateway.url, apiKey: "key", ...own });
}

afterEach(() => gateway.close());

const failure = (promise: Promise<unknown>): Promise<MayflyError> =>
  promise.then(
    () => expect.unreachable("it should have failed"),
    (error) => error,
  );

const AWAY = { code: "unavailable", reason: "queue_unavailable", detail: "Redis does not answer" };

describe("an error", () => {
  it("has status, code, reason, the fields and the seconds to wait, whatever call it comes of", async () => {
    const errors = [{ field: "image", message: "is missing" }];
    const detail = { code: "resource_exhausted", reason: "queue_full", detail: "full", errors };
    await start({
      intercept: instead((response) => {
        response.setHeader("retry-after", "2");
        problem(response, 429, detail);
      }),
    });
    const calls = [
      () => mayfly.run({ image: "x" }),
      () => mayfly.runs.cancel("run_1"),
      () => mayfly.images.prune(),
      () => mayfly.hosts.drain("a"),
    ];
    for (const call of calls) {
      const error = await failure(call());
      expect(error).toBeInstanceOf(MayflyError);
      expect(error).toMatchObject({ status: 429, code: "resource_exhausted", reason: "queue_full", retryAfter: 2 });
      expect(error.details).toEqual(errors);
    }
  });
});

describe("trying again", () => {
  it("goes on over a gateway that has no room for a moment, for what is safe, and no longer than it was told", async () => {
    await start({ intercept: (_, response, count) => count < 3 && Boolean(problem(response, 503, AWAY) ?? true) });
    const { id } = gateway.addRun({ image: "x" });
    expect((await mayfly.runs.get(id)).id).toBe(id);
    expect(gateway.seen).toHaveLength(3);
    await gateway.close();
    await start({ intercept: instead((response) => problem(response, 503, AWAY)) }, { retries: 1 });
    expect(await failure(mayfly.runs.get(id))).toMatchObject({ reason: "queue_unavailable" });
    expect(gateway.seen).toHaveLength(2);
  });

  it("never repeats a refusal that another try would not change", async () => {
    await start();
    expect(await failure(mayfly.runs.get("run_1"))).toMatchObject({ status: 404, reason: "run_not_found" });
    expect(gateway.seen).toHaveLength(1);
  });

  it("asks once for a run without a key, whatever fails", async () => {
    await start({ intercept: instead((response) => response.destroy()) }, { idempotency: "off" });
    expect(await failure(mayfly.run({ image: "x" }))).toMatchObject({ reason: "gateway_unreachable" });
    expect(gateway.seen.map(({ headers }) => headers["idempotency-key"])).toEqual([undefined]);
  });

  it("asks again for a run with the same key, and for another run with another", async () => {
    await start({ intercept: (_, response, count) => count < 3 && Boolean(response.destroy()) });
    await mayfly.run({ image: "x" });
    await mayfly.runs.create({ image: "x" });
    const keys = gateway.requests("POST", /runs$/).map(({ headers }) => headers["idempotency-key"]);
    expect(keys[0]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(keys).toEqual([keys[0], keys[0], keys[0], expect.not.stringMatching(String(keys[0]))]);
  });

  it("takes the caller's own key, also where it makes none itself", async () => {
    const flaky = {
      intercept: (_: unknown, response: { destroy(): unknown }, count: number) =>
        count < 2 && Boolean(response.destroy()),
    };
    await start(flaky, { idempotency: "off" });
    await mayfly.run({ image: "x" }, { idempotencyKey: "mine" });
    expect(gateway.requests("POST", /runs$/).map(({ headers }) => headers["idempotency-key"])).toEqual([
      "mine",
      "mine",
    ]);
  });

  it("ends at once when it is told to, between two tries as well", async () => {
    const leaving = new AbortController();
    const reason = new Error("enough");
    await start({ intercept: instead((response) => problem(response, 503, AWAY)) });
    const call = failure(mayfly.runs.get("run_1", { signal: leaving.signal }));
    await gateway.until(() => gateway.seen.length === 1);
    leaving.abort(reason);
    expect(await call).toBe(reason);
    const waiting = new AbortController();
    const patience = createPatience({ limit: 3, signal: waiting.signal });
    const asked = { code: "unavailable", reason: "queue_unavailable", detail: "", retryAfterMs: 60_000 } as const;
    const between = failure(patience.afterFailure(new MayflyError(asked)));
    waiting.abort(reason);
    expect(await between).toBe(reason);
  });
});

describe("a list of runs", () => {
  it("has every run once, newest first, over as many pages as it takes, and can be gone through again", async () => {
    await start();
    const ids = Array.from({ length: 7 }, () => gateway.addRun({ image: "x" }).id).toReversed();
    const list = mayfly.runs.list({ pageSize: 3 });
    for (const _ of [1, 2]) expect((await all(list)).map(({ id }) => id)).toEqual(ids);
    expect((await all(list.pages())).map(({ runs }) => runs.length)).toEqual([3, 3, 1]);
  });

  it("asks for no page that nobody wants", async () => {
    await start();
    for (let i = 0; i < 5; i++) gateway.addRun({ image: "x" });
    for await (const _ of mayfly.runs.list({ pageSize: 2 })) break;
    expect(gateway.seen).toHaveLength(1);
  });
});

describe("a run that is waited for", () => {
  it("is asked for again until it has finished", async () => {
    await start({ script: () => ["eof", { end: { kind: "exited", exitCode: 3 } }] });
    const running = mayfly.run({ image: "x" }, { wait: 1 });
    await gateway.until(() => gateway.requests("GET", /run_/).length > 0);
    expect(gateway.requests("POST", /runs$/)[0]?.headers.prefer).toBe("wait=1");
    await mayfly.runs.input(gateway.run.id, new Uint8Array(), { close: true });
    expect((await running).outcome).toEqual({ kind: "exited", exitCode: 3 });
  });

  it("that has finished without an outcome is an answer that is wrong", async () => {
    await start({
      intercept: instead((response) =>
        json(response, 202, { ...gateway.view(gateway.addRun({ image: "x" })), state: "finished" }),
      ),
    });
    expect(await failure(mayfly.run({ image: "x" }))).toMatchObject({ reason: "answer_invalid" });
  });
});
