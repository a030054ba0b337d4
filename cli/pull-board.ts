// How far a pull has come, layer by layer, summed over the hosts that pull. Pure: events in, lines out.

import type { HostPullEvent } from "../core/images.ts";
import { humanSize } from "./human-size.ts";
import type { PullProgress } from "./image-client.ts";

interface Layer {
  readonly size: number;
  readonly hosts: Map<string, { readonly bytes: number; readonly state: "present" | "pulling" | "done" }>;
}

const BAR = 30;
const SHORT_DIGEST = 12;

export class PullBoard {
  readonly #layers = new Map<string, Layer>();
  readonly #ended = new Map<string, HostPullEvent>();
  #hosts: readonly string[] = [];

  /** Lines that are worth saying once, where nothing can be drawn: what a host has just come to. */
  tell(event: PullProgress): string[] {
    if ("hosts" in event) {
      this.#hosts = event.hosts;
      return [];
    }
    if (event.kind !== "layer") {
      this.#ended.set(event.host, event);
      return event.kind === "ready" ? [`${event.host}: ready, ${event.digest}`] : [];
    }
    const { host, digest, size, bytes, state } = event;
    const layer = this.#layers.get(digest) ?? { size, hosts: new Map() };
    const before = layer.hosts.get(host)?.state;
    layer.hosts.set(host, { bytes, state });
    this.#layers.set(digest, layer);
    return state !== before && state !== "pulling" ? [`${host}: ${short(digest)} ${state}`] : [];
  }

  /** At most `rows` lines, one at least, of at most `columns` characters; layers that are under way go before those that are done. */
  draw(rows: number, columns: number): string[] {
    const layers = [...this.#layers].map(([digest, layer]) => ({ digest, layer, isOver: isOver(layer) }));
    const under = layers.filter(({ isOver }) => !isOver);
    const over = layers.filter(({ isOver }) => isOver);
    const room = Math.max(0, rows - 1);
    const shown = new Set([...under, ...over].slice(0, room));
    const lines = layers.filter((each) => shown.has(each)).map(({ digest, layer }) => line(digest, layer));
    return [...lines, this.#summary(over.length)].map((text) => text.slice(0, columns - 1));
  }

  #summary(over: number): string {
    const hosts = this.#hosts.length === 1 ? (this.#hosts[0] ?? "") : `${this.#hosts.length} hosts`;
    return `${hosts}: ${over} of ${this.#layers.size} layers, ${this.#ended.size} of ${this.#hosts.length} done`;
  }
}

function isOver({ hosts }: Layer): boolean {
  return [...hosts.values()].every(({ state }) => state !== "pulling");
}

function line(digest: string, { size, hosts }: Layer): string {
  const all = [...hosts.values()];
  const pulled = all.filter(({ state }) => state !== "present");
  if (pulled.length === 0) return `${short(digest)} present`;
  const total = size * pulled.length;
  const bytes = pulled.reduce((sum, each) => sum + (each.state === "done" ? size : Math.min(each.bytes, size)), 0);
  const filled = total === 0 ? BAR : Math.floor((BAR * bytes) / total);
  const bar = `[${"=".repeat(filled)}${" ".repeat(BAR - filled)}]`;
  return `${short(digest)} ${bar} ${humanSize(bytes)} of ${humanSize(total)}`;
}

export const short = (digest: string): string => digest.replace("sha256:", "").slice(0, SHORT_DIGEST);
