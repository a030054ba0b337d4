// Schedules of the caller's tenant, through the gateway.
//
//   await mayfly.schedules.create({ name: "nightly", cron: "30 2 * * *", timezone: "Europe/Berlin", request: { image: "busybox" } });

import { type NewSchedule, Schedule, SchedulePage } from "../core/schedule.ts";
import { pages, told } from "./access-client.ts";
import { parseAnswer } from "./answers.ts";
import { readJson, type Send } from "./http.ts";

interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

/** Every method throws ClientError, or the reason of an aborted signal. */
export interface ScheduleClient {
  create(schedule: NewSchedule, options?: CallOptions): Promise<Schedule>;
  /** A page at a time, all of them in the end. */
  list(options?: CallOptions): AsyncGenerator<Schedule, void>;
  inspect(name: string, options?: CallOptions): Promise<Schedule>;
  /** Both are safe to repeat. */
  pause(name: string, options?: CallOptions): Promise<Schedule>;
  resume(name: string, options?: CallOptions): Promise<Schedule>;
  remove(name: string, options?: CallOptions): Promise<void>;
}

const PATH = "/v1/schedules";

export function createScheduleClient(send: Send): ScheduleClient {
  const path = (name: string, rest = "") => `${PATH}/${encodeURIComponent(name)}${rest}`;
  const ask = async (call: Parameters<Send>[0]) => parseAnswer(Schedule, await readJson(await send(call)));
  return {
    create: (schedule, { signal } = {}) => ask(told("POST", PATH, { body: schedule, signal })),
    list: async function* ({ signal } = {}) {
      yield* pages(async (cursor) => {
        const answer = await readJson(await send({ method: "GET", path: PATH, query: { cursor }, signal }));
        const page = parseAnswer(SchedulePage, answer);
        return { items: page.schedules, next: page.next };
      });
    },
    inspect: (name, { signal } = {}) => ask({ method: "GET", path: path(name), signal }),
    pause: (name, { signal } = {}) => ask({ method: "POST", path: path(name, "/pause"), signal }),
    resume: (name, { signal } = {}) => ask({ method: "POST", path: path(name, "/resume"), signal }),
    remove: async (name, { signal } = {}) => {
      const response = await send({ method: "DELETE", path: path(name), signal });
      await response.body?.cancel();
    },
  };
}
