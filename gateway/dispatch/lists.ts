// Lists of runs, and how many there are: by tenant, state, labels, image and moment. Newest first, by id and so by creation: an order that never
// changes, so that a cursor is an id and no page repeats or misses a run that was there all the time.

import type { Redis } from "ioredis";
import { firstRunId } from "../../core/ids.ts";
import { DEAD_LETTERS, imageFacet, labelFacet, stateFacet } from "../../core/index-parts.ts";
import { keys } from "../../core/keys.ts";
import { parseRecord, type RunRecord } from "../../core/record.ts";
import { RunState } from "../../core/run.ts";
import { runTransition } from "../../core/transitions.ts";
import { BUDGET, walk } from "./list-scripts.ts";
import { onRedis } from "./redis.ts";

/** What is looked for: all that is given must hold. */
export interface Filter {
  readonly state?: RunState | undefined;
  readonly labels?: readonly (readonly [name: string, value: string])[] | undefined;
  /** As it was asked for. */
  readonly image?: string | undefined;
  /** From this moment on, and before that one: ms since 1970, by the clock of the gateway that accepted the run. */
  readonly sinceMs?: number | undefined;
  readonly untilMs?: number | undefined;
  readonly onlyDeadLetters?: boolean | undefined;
}

export interface Page {
  readonly limit: number;
  readonly cursor?: string | undefined;
}

/** One tenant, or everybody. */
export type Whose = { readonly tenant: string } | "everybody";

export interface Counts {
  readonly total: number;
  readonly states: Readonly<Record<RunState, number>>;
  /** False if there are more runs to look at than one call may: then these are what was found among the newest. */
  readonly isComplete: boolean;
}

type Sources = readonly (readonly string[])[];
interface Span {
  readonly top: string;
  readonly bottom: string;
}

/** How many steps a page, or a count of one state, may take. */
const PAGE_STEPS = 10;
const COUNT_STEPS = 100;
/** How many sources one step merges. */
const MERGED = 1_000;

export class Lists {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** `next` is there if there may be more; a page may be short all the same. */
  async page(whose: Whose, filter: Filter, page: Page): Promise<{ records: RunRecord[]; next: string | undefined }> {
    return onRedis(this.#redis, async () => {
      const sources = (await this.#tenants(whose)).flatMap((tenant) => sourcesOf(tenant, filter));
      const ids: string[] = [];
      let next = page.cursor;
      for (let step = 0; step < PAGE_STEPS && ids.length < page.limit; step++) {
        const found = await this.#merge(sources, spanOf(filter, next), page.limit - ids.length);
        ids.push(...found.ids);
        next = found.next;
        if (next === undefined) break;
      }
      return { records: await this.#records(ids), next };
    });
  }

  async count(whose: Whose, filter: Filter): Promise<Counts> {
    return onRedis(this.#redis, async () => {
      const tenants = await this.#tenants(whose);
      const wanted = filter.state === undefined ? RunState.options : [filter.state];
      const states = { queued: 0, starting: 0, running: 0, finished: 0 };
      let isComplete = true;
      for (const state of wanted) {
        const sources = tenants.flatMap((tenant) => sourcesOf(tenant, { ...filter, state }));
        const counted = await this.#count(sources, filter);
        states[state] = counted.count;
        isComplete &&= counted.isComplete;
      }
      return { total: Object.values(states).reduce((sum, count) => sum + count, 0), states, isComplete };
    });
  }

  async #tenants(whose: Whose): Promise<string[]> {
    return whose === "everybody" ? this.#redis.zrange(keys.filed, "0", "-1") : [whose.tenant];
  }

  /** A source of one set is counted without a look at what is in it. */
  async #count(sources: Sources, filter: Filter): Promise<{ count: number; isComplete: boolean }> {
    const { top, bottom } = spanOf(filter, undefined);
    if (sources.every((sets) => sets.length === 1)) {
      const pipeline = this.#redis.pipeline();
      for (const [set = ""] of sources) pipeline.zlexcount(set, bottom, top);
      const counts = (await pipeline.exec()) ?? [];
      return { count: counts.reduce((sum, [, count]) => sum + Number(count), 0), isComplete: true };
    }
    let count = 0;
    let next: string | undefined;
    for (let step = 0; step < COUNT_STEPS; step++) {
      const found = await this.#merge(sources, spanOf(filter, next), BUDGET);
      count += found.ids.length;
      next = found.next;
      if (next === undefined) return { count, isComplete: true };
    }
    return { count, isComplete: false };
  }

  /** One step through all sources: what was found above the point that each of them has come to. */
  async #merge(sources: Sources, { top, bottom }: Span, limit: number): Promise<{ ids: string[]; next?: string }> {
    const found: string[] = [];
    let floor: string | undefined;
    for (let i = 0; i < sources.length; i += MERGED) {
      const args = [limit, top, bottom, JSON.stringify(sources.slice(i, i + MERGED))];
      const [isAll, last, ...ids] = (await runTransition(this.#redis, walk, [keys.filed], args)) as string[];
      found.push(...ids);
      if (isAll !== "1" && last !== undefined && (floor === undefined || last > floor)) floor = last;
    }
    const reached = found.filter((id) => floor === undefined || id >= floor).sort((a, b) => (a < b ? 1 : -1));
    const ids = reached.slice(0, limit);
    const next = reached.length > limit ? ids.at(-1) : floor;
    return next === undefined ? { ids } : { ids, next };
  }

  /** One that was forgotten meanwhile is left out. */
  async #records(ids: readonly string[]): Promise<RunRecord[]> {
    const pipeline = this.#redis.pipeline();
    for (const id of ids) pipeline.hgetall(keys.run(id));
    const answers = (await pipeline.exec()) ?? [];
    return answers.flatMap(([error, hash]) => {
      if (error) throw error;
      return parseRecord(hash as Record<string, string>) ?? [];
    });
  }
}

/** The sets that a run of this tenant must be in; where nothing else is asked for, it is in one of the four of states. */
function sourcesOf(tenant: string, { state, labels = [], image, onlyDeadLetters }: Filter): string[][] {
  const facets = [
    ...(onlyDeadLetters ? [DEAD_LETTERS] : []),
    ...(image === undefined ? [] : [imageFacet(image)]),
    ...labels.map(([name, value]) => labelFacet(name, value)),
  ];
  const states = facets.length > 0 && state === undefined ? [[]] : (state ? [state] : RunState.options).map(inState);
  return states.map((of) => [...of, ...facets].map((facet) => keys.facet(`${tenant}:${facet}`)));
}

const inState = (state: RunState) => [stateFacet(state)];

function spanOf({ sinceMs, untilMs }: Filter, cursor: string | undefined): Span {
  const until = untilMs === undefined ? undefined : firstRunId(untilMs);
  const before = cursor !== undefined && until !== undefined && until < cursor ? until : (cursor ?? until);
  return {
    top: before === undefined ? "+" : `(${before}`,
    bottom: sinceMs === undefined ? "-" : `[${firstRunId(sinceMs)}`,
  };
}
