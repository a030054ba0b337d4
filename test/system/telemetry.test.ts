// Traces and metrics of real runs, as a receiver of OTLP and a scraper of Prometheus see them.

import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Run } from "../../core/run.ts";
import { type Cluster, startCluster, type WorkerUnderTest } from "../helpers/cluster.ts";
import { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver } from "../helpers/otlp-receiver.ts";
import { type Metric, parsePrometheus } from "../helpers/prometheus-text.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER = "00f067aa0ba902b7";
const PHASES = ["pull", "prepare", "start", "run", "collect"];

async function post(cluster: Cluster, body: object, headers: Record<string, string> = {}): Promise<Run> {
  const answer = await cluster.fetch("/v1/runs", {
    method: "POST",
    headers: { "content-type": "application/json", prefer: "wait=60", ...headers },
    body: JSON.stringify({ image: cluster.image, ...body }),
  });
  if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
  return (await answer.json()) as Run;
}

/** As a caller would have it: each trace of its own. */
const traceparent = (trace: string, flags = "01") => `00-${trace}-${CALLER}-${flags}`;

async function scrape(url: string): Promise<ReadonlyMap<string, Metric>> {
  const answer = await fetch(url);
  expect(answer.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  return parsePrometheus(await answer.text());
}

describe("with a receiver of OTLP", () => {
  let receiver: OtlpReceiver;
  let cluster: Cluster;
  let worker: WorkerUnderTest;
  beforeAll(async () => {
    receiver = await startOtlpReceiver();
    cluster = await startCluster({ workers: 0, gatewayEnv: receiver.env });
    worker = await cluster.startWorker({ ...receiver.env, MAYFLY_METRICS_LISTEN: "127.0.0.1:0" });
  });
  afterAll(async () => {
    await cluster.stop();
    await receiver.stop();
  });

  const spanOf = (run: string, name: string, attempt?: number) =>
    receiver.span(
      (span) =>
        span.name === name &&
        span.kind !== 1 &&
        span.attributes["mayfly.run.id"] === run &&
        (attempt === undefined || span.attributes["mayfly.run.attempt"] === attempt),
    );
  const childrenOf = (parent: ReceivedSpan) =>
    receiver.spans.filter(({ parentSpanId }) => parentSpanId === parent.spanId);

  it("one trace leads from the caller through the gateway, the queue, the worker and its phases to the program", async () => {
    const run = await post(
      cluster,
      { command: ["sh", "-c", "echo $TRACEPARENT"] },
      { traceparent: traceparent(TRACE), tracestate: "congo=t61rcWkgMzE" },
    );
    const attempt = await spanOf(run.id, "run");
    const request = await spanOf(run.id, "POST /v1/runs");
    expect(request).toMatchObject({
      service: "mayfly-gateway",
      traceId: TRACE,
      parentSpanId: CALLER,
      traceState: "congo=t61rcWkgMzE",
      kind: 2,
      status: 0,
      attributes: {
        "http.request.method": "POST",
        "http.route": "/v1/runs",
        "url.path": "/v1/runs",
        "url.scheme": "http",
        "http.response.status_code": 200,
      },
    });
    expect(attempt).toMatchObject({
      service: "mayfly-worker",
      traceId: TRACE,
      parentSpanId: request.spanId,
      kind: 5,
      status: 0,
      attributes: {
        "mayfly.run.attempt": 1,
        "mayfly.run.outcome": "exited",
        "process.exit.code": 0,
        "mayfly.host": worker.host.hostId,
        "container.image.name": cluster.image,
      },
    });
    expect(
      childrenOf(request)
        .map(({ name }) => name)
        .toSorted(),
    ).toEqual(["queue", "run"]);
    const phases = childrenOf(attempt).toSorted(
      (a, b) => a.startMs - b.startMs || PHASES.indexOf(a.name) - PHASES.indexOf(b.name),
    );
    expect(phases.map(({ name }) => name)).toEqual(PHASES);
    for (const { name, traceId, startMs, endMs } of phases) {
      expect(traceId).toBe(TRACE);
      expect(endMs - startMs).toBeCloseTo(run.receipt?.phases[name as "pull"] ?? -1, 1);
    }
    expect(run.stdout?.data).toBe(`00-${TRACE}-${attempt.spanId}-01\n`);
    const [requestLine, runLine] = [
      cluster.gateway.lines.find((line) => line.event === "request" && line.run === run.id),
      worker.process.lines.find((line) => line.event === "run.ended" && line.run === run.id),
    ];
    expect(requestLine).toMatchObject({ trace_id: TRACE, span_id: request.spanId });
    expect(runLine).toMatchObject({ trace_id: TRACE, span_id: attempt.spanId });
  });

  it("a TRACEPARENT of the caller's own env is the one that the program sees", async () => {
    const run = await post(cluster, { command: ["sh", "-c", "echo $TRACEPARENT"], env: { TRACEPARENT: "mine" } });
    expect(run.stdout?.data).toBe("mine\n");
  });

  it.each([
    ["is none", "hello"],
    ["has a trace of zeros", traceparent("0".repeat(32))],
  ])("a traceparent that %s begins a trace of its own", async (_, header) => {
    const run = await post(cluster, { command: ["true"] }, { traceparent: header });
    const request = await spanOf(run.id, "POST /v1/runs");
    expect(request.parentSpanId).toBeUndefined();
    expect((await spanOf(run.id, "run")).traceId).toBe(request.traceId);
  });

  it("a trace that the caller does not record is not recorded here, and continued all the same", async () => {
    const trace = "a".repeat(32);
    const run = await post(
      cluster,
      { command: ["sh", "-c", "echo $TRACEPARENT"] },
      { traceparent: traceparent(trace, "00") },
    );
    expect(run.stdout?.data).toMatch(new RegExp(`^00-${trace}-(?!${CALLER})[0-9a-f]{16}-00\n$`));
    const after = await post(cluster, { command: ["true"] });
    await spanOf(after.id, "run"); // Spans go in order: those of the run before would have come.
    expect(receiver.spans.filter(({ traceId }) => traceId === trace)).toEqual([]);
  });

  it("a run that fails says why: in its span, and in the phase that it came to", async () => {
    const run = await post(cluster, { image: `${cluster.registry.host}/nothing-here` });
    const attempt = await spanOf(run.id, "run");
    expect(attempt).toMatchObject({
      status: 2,
      attributes: { "mayfly.run.outcome": "rejected", "error.type": "image_not_found" },
    });
    const [pull, ...others] = childrenOf(attempt);
    expect(others).toEqual([]);
    expect(pull).toMatchObject({ name: "pull", status: 2, attributes: { "error.type": "image_not_found" } });
  });

  it("a program that exits 1 is a result, and its span no error", async () => {
    const run = await post(cluster, { command: ["false"] });
    expect(await spanOf(run.id, "run")).toMatchObject({ status: 0, attributes: { "process.exit.code": 1 } });
  });

  it("after its worker was killed, the second attempt of a run is in the same trace", async () => {
    const trace = "b".repeat(32);
    const first = await cluster.startWorker({ ...receiver.env, MAYFLY_POOL: "doomed" });
    const { id } = await post(
      cluster,
      { command: ["sh", "-c", "read line; echo $TRACEPARENT"], stdin: { stream: true }, retries: 1, pool: "doomed" },
      { traceparent: traceparent(trace), prefer: "wait=0" },
    );
    await cluster.reaches(id, "running");
    const second = await cluster.startWorker({ ...receiver.env, MAYFLY_POOL: "doomed" });
    await first.process.stop("SIGKILL");
    await cluster.fetch(`/v1/runs/${id}/stdin?close=true`, { method: "POST", body: "go\n" });
    const run = await cluster.get(id, 60);
    const attempt = await spanOf(id, "run", 2);
    const request = await spanOf(id, "POST /v1/runs");
    expect(attempt).toMatchObject({
      traceId: trace,
      parentSpanId: request.spanId,
      attributes: { "mayfly.host": second.host.hostId },
    });
    expect(run.stdout?.data).toBe(`00-${trace}-${attempt.spanId}-01\n`);
    const moved = await receiver.span(({ name }) => name === "overdue requeued");
    expect(moved).toMatchObject({ traceId: trace, parentSpanId: request.spanId, status: 2 });
    const metrics = await scrape(`${cluster.url}/metrics`);
    expect(metrics.get("mayfly_runs_moved_total")?.samples.get("mayfly_runs_moved_total")).toBe(1);
  });

  it("/metrics of gateway and worker count what happens, without a name or an id in any label", async () => {
    const ofGateway = () => scrape(`${cluster.url}/metrics`);
    const ofWorker = () => scrape(String(worker.process.lines.find(({ event }) => event === "worker.ready")?.metrics));
    const [gatewayBefore, workerBefore] = [await ofGateway(), await ofWorker()];
    const runs = await Promise.all([1, 2, 3].map(() => post(cluster, { command: ["true"] })));
    // An answer goes out before it is counted, and the span after that.
    await Promise.all(runs.flatMap(({ id }) => [spanOf(id, "POST /v1/runs"), spanOf(id, "run")]));
    const [gatewayAfter, workerAfter] = [await ofGateway(), await ofWorker()];

    const rise = (
      before: ReadonlyMap<string, Metric>,
      after: ReadonlyMap<string, Metric>,
      name: string,
      line: string,
    ) => (after.get(name)?.samples.get(line) ?? 0) - (before.get(name)?.samples.get(line) ?? 0);
    const requests = 'mayfly_http_requests_total{method="POST",route="/v1/runs",status="200"}';
    expect(rise(gatewayBefore, gatewayAfter, "mayfly_http_requests_total", requests)).toBe(3);
    expect(rise(workerBefore, workerAfter, "mayfly_runs_total", 'mayfly_runs_total{outcome="exited"}')).toBe(3);
    for (const phase of PHASES) {
      const count = `mayfly_run_phase_seconds_count{phase="${phase}"}`;
      expect(rise(workerBefore, workerAfter, "mayfly_run_phase_seconds", count)).toBe(3);
      const all = `mayfly_run_phase_seconds_bucket{phase="${phase}",le="+Inf"}`;
      expect(rise(workerBefore, workerAfter, "mayfly_run_phase_seconds", all)).toBe(3);
    }
    const value = (of: ReadonlyMap<string, Metric>, name: string, line = name) => of.get(name)?.samples.get(line);
    expect(value(gatewayAfter, "mayfly_queue_runs", 'mayfly_queue_runs{pool="default"}')).toBe(0);
    expect(value(gatewayAfter, "mayfly_queue_oldest_seconds", 'mayfly_queue_oldest_seconds{pool="default"}')).toBe(0);
    expect(value(workerAfter, "mayfly_host_capacity_slots")).toBe(64);
    expect(value(workerAfter, "mayfly_blanks_wanted")).toBeGreaterThanOrEqual(4);
    expect(value(workerAfter, "mayfly_pulls_total", 'mayfly_pulls_total{result="done"}')).toBe(1);
    expect(value(workerAfter, "mayfly_pull_bytes_total")).toBeGreaterThan(100_000);

    const lines = [gatewayAfter, workerAfter].flatMap((metrics) =>
      [...metrics.values()].flatMap(({ samples }) => [...samples.keys()]),
    );
    const names = [cluster.image, "busybox", worker.host.hostId, ...runs.map(({ id }) => id), TRACE];
    expect(lines.filter((line) => names.some((name) => line.includes(name)))).toEqual([]);
  });

  it("a queue that nobody takes from has its depth and the age of its oldest told", async () => {
    const { id } = await post(cluster, { pool: "empty", command: ["true"] }, { prefer: "wait=0" });
    const metrics = await scrape(`${cluster.url}/metrics`);
    expect(metrics.get("mayfly_queue_runs")?.samples.get('mayfly_queue_runs{pool="empty"}')).toBe(1);
    await receiver.point(
      ({ name, attributes, value }) =>
        name === "mayfly_queue_oldest_seconds" && attributes.pool === "empty" && value > 0,
    );
    await cluster.fetch(`/v1/runs/${id}/cancel`, { method: "POST" });
    const after = await scrape(`${cluster.url}/metrics`);
    expect(after.get("mayfly_queue_runs")?.samples.get('mayfly_queue_runs{pool="empty"}')).toBe(0);
    expect(after.get("mayfly_runs_total")?.samples.get('mayfly_runs_total{outcome="cancelled"}')).toBe(1);
  });

  it("OTLP has the same numbers as /metrics", async () => {
    const metrics = await scrape(`${cluster.url}/metrics`);
    const line = 'mayfly_http_requests_total{method="POST",route="/v1/runs",status="200"}';
    const scraped = metrics.get("mayfly_http_requests_total")?.samples.get(line) ?? Number.NaN;
    expect(scraped).toBeGreaterThan(0);
    await receiver.point(
      ({ service, name, attributes, value }) =>
        service === "mayfly-gateway" &&
        name === "mayfly_http_requests_total" &&
        attributes.route === "/v1/runs" &&
        attributes.status === "200" &&
        value === scraped,
    );
    const phase = await receiver.point(
      ({ name, attributes }) => name === "mayfly_run_phase_seconds" && attributes.phase === "start",
    );
    expect(phase.value).toBeGreaterThan(0);
  });
});

describe("with a receiver that is of no use", () => {
  let receiver: OtlpReceiver | undefined;
  let cluster: Cluster;
  afterEach(async () => {
    await cluster.stop();
    await receiver?.stop();
  });

  const told = (worker: WorkerUnderTest, what: string) =>
    worker.process.lines.filter((line) => line.event === "telemetry.unsent" && line.what === what);

  it("runs go on, and each process tells once of one that refuses all it is sent", async () => {
    receiver = await startOtlpReceiver(400);
    cluster = await startCluster({ workers: 0 });
    const worker = await cluster.startWorker(receiver.env);
    for (let i = 1; i <= 5; i++) {
      expect((await cluster.run({ command: ["true"] })).outcome).toEqual({ kind: "exited", exitCode: 0 });
      await receiver.asked(2 * i);
    }
    await worker.process.stop(); // Its log is whole.
    expect(told(worker, "metrics")).toHaveLength(1);
    expect(told(worker, "traces")).toHaveLength(1);
  });

  it.each([
    ["nobody listens there", undefined],
    ["it never answers", "never" as const],
  ])("runs end and processes stop as they should where %s", async (_, answer) => {
    receiver = answer === undefined ? undefined : await startOtlpReceiver(answer);
    const env = receiver?.env ?? { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9", OTEL_BSP_SCHEDULE_DELAY: "20" };
    cluster = await startCluster({ workers: 0, gatewayEnv: env });
    const worker = await cluster.startWorker(env);
    for (let i = 0; i < 10; i++)
      expect((await cluster.run({ command: ["true"] })).outcome).toEqual({ kind: "exited", exitCode: 0 });
    expect(await worker.process.stop()).toBe(0);
    expect(await cluster.gateway.stop()).toBe(0);
  });
});

describe("without a receiver", () => {
  let cluster: Cluster;
  afterEach(() => cluster.stop());

  it("what the caller says of his trace reaches the program all the same, and nothing else does", async () => {
    cluster = await startCluster();
    const command = ["sh", "-c", "echo [$TRACEPARENT]"];
    const traced = await post(cluster, { command }, { traceparent: traceparent(TRACE) });
    expect(traced.stdout?.data).toBe(`[${traceparent(TRACE)}]\n`);
    expect((await post(cluster, { command })).stdout?.data).toBe("[]\n");
  });
});
