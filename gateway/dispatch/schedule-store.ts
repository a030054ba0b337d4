// Schedules in Redis: a hash each, and one list of all of them in the order of tenants.

import type { Redis } from "ioredis";
import { wallTime } from "../../core/clock.ts";
import { MayflyError } from "../../core/errors.ts";
import { newIncarnation } from "../../core/ids.ts";
import { keys } from "../../core/keys.ts";
import { RunRequest } from "../../core/request.ts";
import { type NewSchedule, SCHEDULE_BOUNDS, type Schedule } from "../../core/schedule.ts";
import type { Transition } from "../../core/transition-parts.ts";
import { runTransition } from "../../core/transitions.ts";
import { onRedis } from "./redis.ts";
import { scheduleScripts } from "./schedule-scripts.ts";
import type { When } from "./timetable.ts";

/** As it is kept. Moments are ms since 1970. */
export interface StoredSchedule {
  readonly of: ScheduleName;
  readonly id: string;
  readonly cron: string;
  readonly timezone: string;
  readonly request: RunRequest;
  readonly enabled: boolean;
  readonly createdAt: number;
  readonly lastTick: number | undefined;
  readonly lastRun: string | undefined;
  readonly lastError: Schedule["lastError"];
}

export interface ScheduleName {
  readonly tenant: string;
  readonly name: string;
}

/** What came of a tick. */
export type TickResult = { readonly run: string } | { readonly error: string };

export class ScheduleStore {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** Errors: `schedule_exists`, `too_many_schedules`. */
  async make(tenant: string, schedule: NewSchedule): Promise<StoredSchedule> {
    const { name, cron, timezone = "UTC", request, enabled = true } = schedule;
    const of = { tenant, name };
    const fields = ["id", newIncarnation(), "cron", cron, "timezone", timezone, "request", JSON.stringify(request)];
    const { ofTenant, all } = SCHEDULE_BOUNDS;
    const args = [memberOf(of), ofTenant, all, ...fields, "enabled", enabled ? "1" : "0"];
    const answer = await this.#run(scheduleScripts.make, [keys.schedule(keyOf(of)), keys.schedules], args);
    if (answer === "exists") throw new MayflyError("schedule_exists", `there is a schedule ${name} already`);
    if (answer === "full")
      throw new MayflyError("too_many_schedules", `a tenant may have ${ofTenant} schedules, and all of them ${all}`);
    return this.get(of);
  }

  /** Errors: `schedule_not_found`. */
  async get(of: ScheduleName): Promise<StoredSchedule> {
    const found = await this.find(of);
    if (!found) throw notFound(of.name);
    return found;
  }

  async find(of: ScheduleName): Promise<StoredSchedule | undefined> {
    const hash = await onRedis(this.#redis, () => this.#redis.hgetall(keys.schedule(keyOf(of))));
    return parse(of, hash);
  }

  /** A page of a tenant's by name. */
  async list(
    tenant: string,
    { limit, cursor }: { limit: number; cursor?: string | undefined },
  ): Promise<{
    readonly schedules: readonly StoredSchedule[];
    readonly next: string | undefined;
  }> {
    const from = cursor === undefined ? `[${tenant} ` : `(${tenant} ${cursor}`;
    const members = await onRedis(this.#redis, () =>
      this.#redis.zrangebylex(keys.schedules, from, `(${tenant}!`, "LIMIT", 0, limit),
    );
    const found = await Promise.all(members.map((member) => this.find(parseMember(member))));
    const last = members.length === limit ? members.at(-1) : undefined;
    return { schedules: found.filter((schedule) => schedule !== undefined), next: last?.split(" ")[1] };
  }

  /** When each of all tenants' is due, but for those that are paused. What they ask for is not read: it may be a lot. */
  async enabled(): Promise<When[]> {
    return onRedis(this.#redis, async () => {
      const members = await this.#redis.zrangebylex(keys.schedules, "-", "+");
      const found = await Promise.all(
        members.map((of) =>
          this.#redis.hmget(keys.schedule(keyOf(parseMember(of))), "id", "cron", "timezone", "enabled"),
        ),
      );
      return found.flatMap(([id, cron, timezone, enabled], i) =>
        id && cron && timezone && enabled === "1" ? [{ of: members[i] ?? "", id, cron, timezone }] : [],
      );
    });
  }

  /** Errors: `schedule_not_found`. */
  async enable(of: ScheduleName, enabled: boolean): Promise<StoredSchedule> {
    const args = ["", "", "enabled", enabled ? "1" : "0"];
    if ((await this.#run(scheduleScripts.change, [keys.schedule(keyOf(of))], args)) === 0) throw notFound(of.name);
    return this.get(of);
  }

  /** What came of a tick, if the schedule still is the one that was due. */
  async ticked({ of, id }: StoredSchedule, tickMs: number, result: TickResult): Promise<void> {
    const fields =
      "run" in result
        ? ["lastError", "lastRun", result.run]
        : ["", "lastError", JSON.stringify({ tick: wallTime(tickMs), message: result.error })];
    await this.#run(scheduleScripts.change, [keys.schedule(keyOf(of))], [id, ...fields, "lastTick", tickMs]);
  }

  /** Answers its id. Errors: `schedule_not_found`. */
  async remove(of: ScheduleName): Promise<string> {
    const id = await this.#run(scheduleScripts.remove, [keys.schedule(keyOf(of)), keys.schedules], [memberOf(of)]);
    if (id === "") throw notFound(of.name);
    return String(id);
  }

  #run(script: Transition, names: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    return onRedis(this.#redis, () => runTransition(this.#redis, script, names, args));
  }
}

/** `TENANT NAME`: neither has a space in it. */
export const memberOf = ({ tenant, name }: ScheduleName): string => `${tenant} ${name}`;
const keyOf = ({ tenant, name }: ScheduleName): string => `${tenant}:${name}`;

export function parseMember(member: string): ScheduleName {
  const [tenant = "", name = ""] = member.split(" ");
  return { tenant, name };
}

function parse(of: ScheduleName, hash: Readonly<Record<string, string>>): StoredSchedule | undefined {
  const { id, cron, timezone, request, createdAt, lastTick, lastRun, lastError } = hash;
  if (id === undefined || cron === undefined || timezone === undefined || request === undefined) return undefined;
  return {
    ...{ of, id, cron, timezone, lastRun },
    request: RunRequest.parse(JSON.parse(request)),
    enabled: hash.enabled === "1",
    createdAt: Number(createdAt),
    lastTick: lastTick === undefined ? undefined : Number(lastTick),
    lastError: lastError === undefined ? undefined : JSON.parse(lastError),
  };
}

function notFound(name: string): MayflyError {
  return new MayflyError("schedule_not_found", `there is no schedule ${name}`);
}
