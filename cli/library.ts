// The package's face: `import { Mayfly } from "mayfly"`.
//
//   const mayfly = new Mayfly({ url: "http://127.0.0.1:8080", apiKey });
//   const run = await mayfly.run({ image: "busybox", command: ["echo", "hello"] });
//   if (run.outcome.kind === "exited") console.log(run.outcome.exitCode, run.stdout?.data);

import type { ArtifactList } from "../core/artifacts.ts";
import type { RunSignal, TerminalSize } from "../core/control.ts";
import type { RunRequest } from "../core/request.ts";
import type { Outcome, Run } from "../core/run.ts";
import { type CallOptions, type Client, type CreateOptions, createClient, type WaitOptions } from "./client.ts";
import { invalidAnswer } from "./client-error.ts";
import type { FollowOptions } from "./follow.ts";
import type { HostClient } from "./host-client.ts";
import type { ClientOptions } from "./http.ts";
import type { ImageClient } from "./image-client.ts";
import type { RunEvent, StreamName } from "./run-event.ts";
import { RunList, type RunListOptions } from "./run-list.ts";
import type { UploadClient } from "./upload-client.ts";

export type { Capacity, HostRecord, HostState } from "../core/host.ts";
export type { ImageInfo, ImageInspection } from "../core/images.ts";
export * from "./client.ts";
export { ClientError as MayflyError } from "./client-error.ts";
export { RunList, type RunListOptions } from "./run-list.ts";

export type FinishedRun = Run & { readonly outcome: Outcome };

export interface RunOptions {
  readonly signal?: AbortSignal | undefined;
  /** Seconds, at most 300, for which one request is held open while the run goes on; 30 by default. */
  readonly wait?: number | undefined;
  readonly idempotencyKey?: string | undefined;
}

const WAIT_SECONDS = 30;

/**
 * A cluster, by one of its gateways. Safe to use concurrently; constructing it connects to nothing, and there is nothing to close.
 * Every method throws MayflyError, or the reason of the signal that it was given. Throws TypeError if `url` is not a URL.
 */
export class Mayfly {
  readonly runs: Runs;
  readonly images: ImageClient;
  readonly hosts: HostClient;
  readonly uploads: UploadClient;

  constructor(options: ClientOptions) {
    const client = createClient(options);
    this.runs = new Runs(client);
    this.images = client.images;
    this.hosts = client.hosts;
    this.uploads = client.uploads;
  }

  /** Makes a run and resolves when it has finished, however it did: that is its outcome. The signal ends the waiting, not the run. */
  async run(
    request: RunRequest,
    { signal, wait = WAIT_SECONDS, idempotencyKey }: RunOptions = {},
  ): Promise<FinishedRun> {
    const keyed = idempotencyKey === undefined ? {} : { idempotencyKey };
    const run = await this.runs.create(request, { signal, waitSeconds: wait, ...keyed });
    return run.state === "finished" ? finished(run) : this.runs.wait(run.id, { signal, waitSeconds: wait });
  }
}

/** The runs of the tenant whose key it is. */
export class Runs {
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
  }

  /** Resolves when the run is accepted, or with `waitSeconds` when it has finished or they are over. */
  create(request: RunRequest, options?: CreateOptions): Promise<Run> {
    return this.#client.createRun(request, options);
  }

  get(id: string, options?: WaitOptions): Promise<Run> {
    return this.#client.getRun(id, options);
  }

  /** Newest first, without their output. */
  list(options: RunListOptions = {}): RunList {
    return new RunList((query) => this.#client.listRuns(query), options);
  }

  /** Safe to repeat. The run has ended only once its state says so. */
  cancel(id: string, options?: CallOptions): Promise<Run> {
    return this.#client.cancelRun(id, options);
  }

  /** Resolves when the run has finished, however long that takes. */
  async wait(id: string, options?: WaitOptions): Promise<FinishedRun> {
    return finished(await this.#client.waitRun(id, options));
  }

  /** All that happens in the run, from its beginning to `end`: each byte once and in order, over as many connections as it takes. */
  stream(id: string, options?: FollowOptions): AsyncGenerator<RunEvent, void> {
    return this.#client.followRun(id, options);
  }

  /** The bytes of one stream that are kept so far. */
  output(id: string, stream: StreamName, options?: CallOptions): Promise<Uint8Array<ArrayBuffer>> {
    return this.#client.readOutput(id, stream, options);
  }

  /** The files that a finished run has left, as its `artifacts` asked. */
  artifacts(id: string, options?: CallOptions): Promise<ArtifactList> {
    return this.#client.artifacts.list(id, options);
  }

  /** The bytes of one of them, by its path in the container. */
  artifact(id: string, path: string, options?: CallOptions): Promise<Uint8Array<ArrayBuffer>> {
    return this.#client.artifacts.read(id, path, options);
  }

  /** To the run's program, which must have been started. Resolves when its host has been told. */
  signal(id: string, signal: RunSignal, options?: CallOptions): Promise<void> {
    return this.#client.signalRun(id, signal, options);
  }

  /** More stdin for a run that was made with `stdin: { stream: true }`; one call at a time, `close` with the last. */
  input(id: string, bytes: Uint8Array<ArrayBuffer>, options?: CallOptions & { close?: boolean }): Promise<void> {
    return this.#client.sendStdin(id, bytes, options);
  }

  resize(id: string, size: TerminalSize, options?: CallOptions): Promise<void> {
    return this.#client.resizeRun(id, size, options);
  }
}

function finished(run: Run): FinishedRun {
  const { outcome } = run;
  if (outcome === undefined) throw invalidAnswer("a run that has finished has no outcome");
  return { ...run, outcome };
}
