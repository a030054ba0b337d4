import { afterEach, describe, expect, it } from "vitest";
import { type Client, ClientError, createClient, type RunEvent } from "../../../cli/client.ts";
import { parseRetryAfter } from "../../../cli/client-error.ts";
import { followRun } from "../../../cli/follow.ts";
import { createSend } from "../../../cli/http.ts";
import { newRunId } from "../../../core/ids.ts";
import { FakeGateway, type FakeOptions, instead, json, problem } from "./fake-gateway.ts";

let gateway: FakeGateway;
let client: Client;

async function start(options: FakeOptions = {}): Promise<void> {
  gateway = await new FakeGateway(options).listen();
  client = createClient({ url: gateway.url, apiKey: "key" });
}

afterEach(() => gateway.close());

const failure = (promise: Promise<unknown>): Promise<ClientError> =>
  promise.then(
    () => expect.unreachable("it should have failed"),
    (error) => error,
  );

const outputOf = async (
  events: AsyncIterable<RunEvent>,
): Promise<{ stdout: string; stderr: string; types: string[] }> => {
  const text = { stdout: "", stderr: "" };
  const types: string[] = [];
  for await (const event of events) {
    if (event.type === "stdout" || event.type === "stderr")
      text[event.type] += Buffer.from(event.bytes).toString("latin1");
    if (event.type !== types.at(-1)) types.push(event.type);
  }
  return { ...text, types };
};

const bytes = (length: number, seed: number) => Buffer.from(Array.from({ length }, (_, index) => (index * seed) % 251));

describe("the client", () => {
  it("makes a run with its key and its wishes in the request", async () => {
    await start();
    const run = await client.createRun({ image: "busybox" }, { waitSeconds: 5 });
    expect(run.image).toBe("busybox");
    const [seen] = gateway.requests("POST", /runs$/);
    expect(seen?.headers).toMatchObject({ authorization: "Bearer key", prefer: "wait=5" });
  });

  it("turns a problem document into an error with all that it says", async () => {
    const errors = [{ field: "limits.memory", message: "is less than 16MiB" }];
    const body = { code: "invalid_argument", reason: "invalid_field", detail: "the request is wrong", errors };
    await start({ intercept: instead((response) => problem(response, 400, body, { "retry-after": "7" })) });
    const error = await failure(client.createRun({ image: "x" }));
    expect(error).toBeInstanceOf(ClientError);
    expect(error).toMatchObject({ ...body, status: 400, message: "the request is wrong", retryAfterMs: 7000 });
  });

  it("knows a code by the status of an answer that is no problem document", async () => {
    await start({ intercept: instead((response) => response.writeHead(502).end("<h1>Bad gateway</h1>")) });
    expect(await failure(client.getRun(newRunId()))).toMatchObject({
      code: "unavailable",
      reason: "answer_invalid",
      status: 502,
    });
  });

  it("does not follow a redirect", async () => {
    await start({ intercept: instead((response) => response.writeHead(302, { location: "/elsewhere" }).end()) });
    expect(await failure(client.getRun(newRunId()))).toMatchObject({ status: 302 });
    expect(gateway.seen).toHaveLength(1);
  });

  it("refuses an answer that is not a run, and one that is not JSON", async () => {
    await start({
      intercept: (seen, response) => {
        if (seen.path.endsWith("1")) json(response, 200, { id: 5 });
        else response.writeHead(200).end("{");
        return true;
      },
    });
    expect(await failure(client.getRun("run_1"))).toMatchObject({ reason: "answer_invalid" });
    expect(await failure(client.getRun("run_2"))).toMatchObject({ reason: "answer_invalid" });
  });

  it("passes over fields that a newer gateway has added, at any depth", async () => {
    await start();
    const run = gateway.addRun({ image: "x" });
    const view = {
      ...gateway.view(run),
      state: "finished",
      outcome: { kind: "exited", exitCode: 1, extra: 1 },
      added: {},
    };
    gateway.close();
    await start({ intercept: instead((response) => json(response, 200, view)) });
    expect(await client.getRun(run.id)).toMatchObject({ outcome: { kind: "exited", exitCode: 1 } });
  });

  it("asks again when the connection of a GET fails, within a bound", async () => {
    await start({ intercept: (_, response, count) => count < 3 && Boolean(response.destroy()) });
    const run = gateway.addRun({ image: "x" });
    expect((await client.getRun(run.id)).id).toBe(run.id);
    expect(gateway.seen).toHaveLength(3);
    gateway.close();
    await start({ intercept: instead((response) => response.destroy()) });
    expect(await failure(client.getRun(run.id))).toMatchObject({ code: "unavailable", reason: "gateway_unreachable" });
    expect(gateway.seen).toHaveLength(4);
  });

  it("never sends a POST twice that has no key", async () => {
    await start({ intercept: instead((response) => response.destroy()) });
    client = createClient({ url: gateway.url, idempotency: "off" });
    expect(await failure(client.createRun({ image: "x" }))).toMatchObject({ reason: "gateway_unreachable" });
    expect(await failure(client.cancelRun(newRunId()))).toMatchObject({ reason: "gateway_unreachable" });
    expect(gateway.seen).toHaveLength(2);
  });

  it("lets go at once when it is told to, with the reason it was given", async () => {
    await start({ intercept: () => true });
    const leaving = new AbortController();
    const reason = new Error("enough");
    const waiting = failure(client.waitRun(newRunId(), { signal: leaving.signal }));
    await gateway.until(() => gateway.seen.length > 0);
    leaving.abort(reason);
    expect(await waiting).toBe(reason);
    expect(await failure(client.createRun({ image: "x" }, { signal: leaving.signal }))).toBe(reason);
    expect(await failure(client.followRun(newRunId(), { signal: leaving.signal }).next())).toBe(reason);
  });

  it("waits for a run over an outage that passes", async () => {
    const away = { code: "unavailable", reason: "queue_unavailable", detail: "Redis does not answer" };
    await start({
      intercept: (seen, response, count) =>
        count === 1 && instead(() => problem(response, 503, away, { "retry-after": "0" }))(seen, response, count),
    });
    const run = gateway.addRun({ image: "x" }, [{ end: { kind: "exited", exitCode: 4 } }]);
    expect((await client.waitRun(run.id)).outcome).toEqual({ kind: "exited", exitCode: 4 });
  });

  it("keeps a path that the gateway's URL has", async () => {
    await start({ intercept: instead((response) => json(response, 200, { runs: [] })) });
    await createClient({ url: `${gateway.url}/mayfly/` }).listRuns({ state: "queued", limit: 3 });
    expect(gateway.seen[0]).toMatchObject({ path: "/mayfly/v1/runs" });
    expect(gateway.seen[0]?.query.toString()).toBe("state=queued&limit=3");
  });

  it("reads output as the bytes that they are", async () => {
    await start();
    const run = gateway.addRun({ image: "x" }, [{ stdout: Buffer.from([0, 255, 254]) }]);
    expect([...(await client.readOutput(run.id, "stdout"))]).toEqual([0, 255, 254]);
  });

  it("understands both forms of Retry-After", async () => {
    await start();
    expect(parseRetryAfter("3")).toBe(3000);
    expect(parseRetryAfter("Thu, 01 Jan 1970 00:00:09 GMT", 4000)).toBe(5000);
    expect(parseRetryAfter("Thu, 01 Jan 1970 00:00:09 GMT", 10_000)).toBe(0);
    expect(parseRetryAfter("soon")).toBeUndefined();
    expect(parseRetryAfter(null)).toBeUndefined();
  });
});

describe("following a run", () => {
  const end = { end: { kind: "exited", exitCode: 0 } } as const;

  it("gives all output once and in order over connections that are cut anywhere and repeat themselves", async () => {
    const stdout = bytes(5000, 7);
    const stderr = bytes(3000, 11);
    await start({ cutEventsAfter: [0, 20, 700, 900, 1500, 701, 3000], repeatBytes: 150, eventBytes: 100 });
    const run = gateway.addRun({ image: "x" }, [{ stdout }, { stderr }, end]);
    const seen = await outputOf(client.followRun(run.id));
    expect(seen.stdout).toBe(stdout.toString("latin1"));
    expect(seen.stderr).toBe(stderr.toString("latin1"));
    expect(seen.types.at(-1)).toBe("end");
    expect(gateway.requests("GET", /events/).at(-1)?.headers["last-event-id"]).toMatch(/^1\.\d+\.\d+$/);
  });

  it("starts again with a new attempt's output", async () => {
    await start();
    const run = gateway.addRun({ image: "x" }, [{ stdout: "first" }, "retry", { stdout: "second" }, end]);
    const attempts = new Map<number, string>();
    for await (const event of client.followRun(run.id)) {
      if (event.type === "stdout") {
        attempts.set(event.attempt, (attempts.get(event.attempt) ?? "") + Buffer.from(event.bytes).toString());
      }
    }
    expect(attempts.get(2)).toBe("second");
  });

  it("gives up on a gateway that is away for too long, and says so", async () => {
    const away = { code: "resource_exhausted", reason: "too_many_waiters", detail: "full" };
    await start({ intercept: instead((response) => problem(response, 429, away)) });
    const error = await failure(client.followRun(newRunId(), { reconnects: 2 }).next());
    expect(error).toMatchObject({ reason: "too_many_waiters", status: 429 });
    expect(gateway.seen).toHaveLength(3);
  });

  it("takes connections that bring nothing new for failures, however many bytes they repeat", async () => {
    await start({ cutEventsAfter: [400, 100, 100, 100], eventBytes: 10, repeatBytes: 1000 });
    const run = gateway.addRun({ image: "x" }, [{ stdout: bytes(5000, 3) }, end]);
    const seen = await failure(outputOf(client.followRun(run.id, { reconnects: 2 })));
    expect(seen).toMatchObject({ reason: "gateway_unreachable" });
    expect(gateway.seen).toHaveLength(3);
  });

  it("fails at once when the gateway refuses", async () => {
    await start();
    expect(await failure(client.followRun(newRunId()).next())).toMatchObject({ reason: "run_not_found" });
    expect(gateway.seen).toHaveLength(1);
  });

  it("fails at once on an answer that is no event stream", async () => {
    await start({ intercept: instead((response) => json(response, 200, {})) });
    expect(await failure(client.followRun(newRunId()).next())).toMatchObject({ reason: "answer_invalid" });
  });

  it("takes a connection that has fallen silent for broken, and makes another", async () => {
    await start({
      intercept: (seen, response, count) =>
        seen.path.endsWith("/events") &&
        count === 1 &&
        response.writeHead(200, { "content-type": "text/event-stream" }).write(": hi\n\n"),
    });
    const run = gateway.addRun({ image: "x" }, [{ stdout: "hello" }, end]);
    const seen = await outputOf(followRun(createSend({ url: gateway.url }), run.id, { silenceMs: 50 }));
    expect(seen.stdout).toBe("hello");
    expect(gateway.seen).toHaveLength(2);
  });

  it("closes its connection when the consumer leaves early", async () => {
    await start();
    const run = gateway.addRun({ image: "x" }, [{ stdout: "hello" }, "until cancelled"]);
    for await (const event of client.followRun(run.id)) if (event.type === "stdout") break;
    await gateway.until(() => gateway.openStreams === 0);
  });
});
