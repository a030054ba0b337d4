// Schedules: made, paused, removed, and a run for each of their ticks.
//
// Exactly one run a tick: it is made with an idempotency key of the schedule's id and the tick, so that a job which BullMQ hands out twice
// finds the run of the first time. A tick that nobody saw to in time is not made up for: who is away for a night does not want its runs in
// the morning, all at once. That it was missed stands in the schedule's `lastError`.

import { wallTime } from "../../core/clock.ts";
import { isMayflyError, MayflyError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import type { RunRequest } from "../../core/request.ts";
import { type NewSchedule, SCHEDULE_BOUNDS, type Schedule, type SchedulePage } from "../../core/schedule.ts";
import { memberOf, parseMember, type ScheduleName, type ScheduleStore, type StoredSchedule } from "./schedule-store.ts";
import { nextTick, type Tick, Timetable, type When } from "./timetable.ts";

export interface SchedulesOptions {
  readonly redisUrl: string | undefined;
  readonly store: ScheduleStore;
  readonly runs: {
    /** Throws if the request would be refused. */
    admit(request: RunRequest, tenant: string): Promise<void>;
    /** Answers the run's id: the same for the same key. */
    submitScheduled(run: ScheduledRun): Promise<string>;
  };
  readonly log: Log;
}

export interface ScheduledRun {
  readonly request: RunRequest;
  readonly tenant: string;
  readonly schedule: string;
  readonly idempotencyKey: string;
}

export class Schedules {
  readonly #store: ScheduleStore;
  readonly #options: SchedulesOptions;
  readonly #timetable: Timetable;

  constructor(options: SchedulesOptions) {
    this.#options = options;
    this.#store = options.store;
    this.#timetable = new Timetable({
      redisUrl: options.redisUrl,
      onTick: (tick) => this.#tick(tick),
      onError: (error) => options.log.warn("timetable.error", { error }),
    });
  }

  start(): void {
    this.#timetable.start(() => this.#store.enabled());
  }

  close(): Promise<void> {
    return this.#timetable.close();
  }

  /** Errors: `invalid_field`, `schedule_exists`, `too_many_schedules`, and whatever refuses the request. */
  async make(tenant: string, schedule: NewSchedule): Promise<Schedule> {
    nextTick(schedule.cron, schedule.timezone ?? "UTC", Date.now());
    await this.#options.runs.admit(schedule.request, tenant).catch((error) => {
      throw inRequest(error);
    });
    const made = await this.#store.make(tenant, schedule);
    if (made.enabled) await this.#timetable.set(whenOf(made)); // If that fails now, a repair makes up for it.
    return present(made);
  }

  async get(of: ScheduleName): Promise<Schedule> {
    return present(await this.#store.get(of));
  }

  async list(tenant: string, page: { limit: number; cursor?: string | undefined }): Promise<SchedulePage> {
    const { schedules, next } = await this.#store.list(tenant, page);
    return { schedules: schedules.map(present), ...(next === undefined ? {} : { next }) };
  }

  async pause(of: ScheduleName): Promise<Schedule> {
    const schedule = await this.#store.enable(of, false);
    await this.#timetable.remove(schedule.id);
    return present(schedule);
  }

  /** From its next tick on; those that came meanwhile are not made up for. Safe to repeat. */
  async resume(of: ScheduleName): Promise<Schedule> {
    const schedule = await this.#store.enable(of, true);
    await this.#timetable.set(whenOf(schedule));
    return present(schedule);
  }

  /** Runs that it has made are left alone. */
  async remove(of: ScheduleName): Promise<void> {
    await this.#timetable.remove(await this.#store.remove(of));
  }

  async #tick({ of, id, tickMs }: Tick): Promise<"goes on" | "is over"> {
    const schedule = await this.#store.find(parseMember(of));
    if (schedule?.id !== id || !schedule.enabled) return "is over";
    await this.#store.ticked(schedule, tickMs, await this.#submit(schedule, tickMs));
    return "goes on";
  }

  /** Redis being away is thrown, and tried again; any other refusal is this tick's result. */
  async #submit({ of, id, request }: StoredSchedule, tickMs: number): Promise<{ run: string } | { error: string }> {
    const { tenant, name } = of;
    const now = Date.now();
    if (now - tickMs > SCHEDULE_BOUNDS.lateMs)
      return { error: `missed: no gateway saw to it, nor to any that came after, until ${wallTime(now)}` };
    const log = { schedule: name, tenant, tick: wallTime(tickMs) };
    try {
      const idempotencyKey = `schedule:${id}:${tickMs}`;
      await this.#options.runs.admit(request, tenant);
      const run = await this.#options.runs.submitScheduled({ request, tenant, schedule: name, idempotencyKey });
      this.#options.log.info("schedule.ticked", { ...log, run });
      return { run };
    } catch (error) {
      if (!isMayflyError(error) || error.reason === "queue_unavailable" || error.code === "internal") throw error;
      this.#options.log.warn("schedule.refused", { ...log, error });
      return { error: `${error.reason}: ${error.message}` };
    }
  }
}

function whenOf({ of, id, cron, timezone }: StoredSchedule): When {
  return { of: memberOf(of), id, cron, timezone };
}

function present({ of, lastTick, lastRun, lastError, ...stored }: StoredSchedule): Schedule {
  const { cron, timezone, request, enabled } = stored;
  return {
    ...{ name: of.name, cron, timezone, request, enabled, createdAt: wallTime(stored.createdAt) },
    ...(enabled ? { nextTick: wallTime(nextTick(cron, timezone, Date.now())) } : {}),
    ...(lastTick === undefined ? {} : { lastTick: wallTime(lastTick) }),
    ...(lastRun === undefined ? {} : { lastRun }),
    ...(lastError ? { lastError } : {}),
  };
}

/** A field of the request is named as it stands in the schedule. */
function inRequest(error: unknown): unknown {
  if (!isMayflyError(error) || typeof error.details.field !== "string") return error;
  const field = `request.${error.details.field}`;
  return new MayflyError(error.reason, error.message, { details: { ...error.details, field } });
}
