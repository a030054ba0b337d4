// A blob from another host of the cluster, or from its registry by one host at a time: what runtime/image/peers.ts promises.
//
//   open:  a host has it ──▶ from there
//          nobody has it, and the turn is free ──▶ from the registry; the turn is kept until the blob is here (`gained`)
//          another has the turn ──▶ wait, look again
//
// It is a help and never a hindrance: without Redis, or after too long a wait, the registry is asked as if nobody else were there.

import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";
import { monotonicMs } from "../../core/clock.ts";
import type { ClusterSecret } from "../../core/host-token.ts";
import type { Log } from "../../core/log.ts";
import type { Peers } from "../../runtime/index.ts";
import { BlobLedger, HELD_MS, type Turn } from "./blob-ledger.ts";
import { type AnswerLimits, PeerClient } from "./peer-client.ts";

type Digest = Parameters<Peers["open"]>[0];
type FromRegistry = Parameters<Peers["open"]>[2];
type Bytes = Awaited<ReturnType<FromRegistry>>;

export interface PeerLimits extends AnswerLimits {
  /** A turn that is not renewed goes to another after this: a host that died in the middle is waited for no longer. */
  readonly turnMs: number;
  /** How often it is renewed while the bytes come. */
  readonly renewMs: number;
  /** After the last byte: how long the blob may take to be verified and stored, before another host may fetch it. */
  readonly lingerMs: number;
  /** How often those that wait look again. */
  readonly pollMs: number;
  /** The longest wait for other hosts. */
  readonly waitMs: number;
  /** How long a host is not asked again for a blob that it was asked for: that there is a second time means that it went wrong. */
  readonly avoidMs: number;
}

const LIMITS: PeerLimits = {
  turnMs: 10_000,
  renewMs: 3_000,
  lingerMs: 30_000,
  pollMs: 250,
  waitMs: 600_000,
  avoidMs: 60_000,
  answerMs: 5_000,
  minBytesPerS: 65_536,
  rateWindowMs: 10_000,
};

/** Of the hosts that have a blob, so many are tried. */
const MAX_ASKED = 3;

/** Blobs of which it is remembered which hosts were tried, and whose turn it is; the oldest is forgotten first. */
const MAX_REMEMBERED = 4_096;

export interface ClusterPeersOptions {
  /** This one's own, made to fail fast: a Redis that is away must not hold up a pull. */
  readonly redis: Redis;
  readonly hostId: string;
  readonly secret: ClusterSecret;
  readonly log: Log;
  readonly limits?: Partial<PeerLimits>;
}

export class ClusterPeers implements Peers {
  readonly #ledger: BlobLedger;
  readonly #client: PeerClient;
  readonly #log: Log;
  readonly #limits: PeerLimits;
  /** What this host has, to be said again: as many blobs as its disk has room for. */
  readonly #held = new Set<string>();
  readonly #turns = new Map<string, Turn>();
  readonly #tried = new Map<string, { readonly hosts: Set<string>; untilMs: number }>();
  #timer: NodeJS.Timeout | undefined;

  constructor({ redis, hostId, secret, log, limits }: ClusterPeersOptions) {
    this.#ledger = new BlobLedger(redis, hostId);
    this.#limits = { ...LIMITS, ...limits };
    this.#client = new PeerClient(secret, this.#limits);
    this.#log = log;
  }

  /** From now on this host says again what it has, three times as often as it would be forgotten. */
  start(): void {
    this.#timer = setInterval(() => void this.#say([...this.#held]), HELD_MS / 3).unref();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#client.close();
  }

  async open(digest: Digest, signal: AbortSignal, fromRegistry: FromRegistry): Promise<Bytes> {
    const hex = hexOf(digest);
    const giveUpAtMs = monotonicMs() + this.#limits.waitMs;
    for (;;) {
      signal.throwIfAborted();
      const found = await this.#look(digest, hex, signal);
      if (found === "alone" || monotonicMs() > giveUpAtMs) return fromRegistry(signal);
      if (found === "wait") await delay(this.#limits.pollMs, undefined, { signal }).catch(() => {});
      else if ("bytes" in found) return found.bytes;
      else return this.#fetch(hex, found.turn, { signal, fromRegistry });
    }
  }

  async gained(digests: readonly Digest[]): Promise<void> {
    const hexes = digests.map(hexOf);
    for (const hex of hexes) {
      this.#held.add(hex);
      this.#tried.delete(hex);
    }
    await this.#say(hexes);
    // Only now: who waits for the turn finds the blob when it looks.
    await Promise.all(hexes.map((hex) => this.#giveBack(hex)));
  }

  async lost(digests: readonly Digest[]): Promise<void> {
    const hexes = digests.map(hexOf);
    for (const hex of hexes) this.#held.delete(hex);
    await this.#ledger.drop(hexes).catch((error) => this.#log.warn("peers.redis_failed", { error }));
  }

  /** "alone" if Redis cannot be asked. */
  async #look(
    digest: Digest,
    hex: string,
    signal: AbortSignal,
  ): Promise<{ bytes: Bytes } | { turn: Turn } | "wait" | "alone"> {
    try {
      const bytes = await this.#fromPeers(digest, hex, signal);
      if (bytes) return { bytes };
      const turn = await this.#takeTurn(hex);
      if (!turn) return "wait";
      // It may have come to another host since the look, and the turn been free because of that.
      const late = await this.#fromPeers(digest, hex, signal);
      if (!late) return { turn };
      await this.#giveBack(hex);
      return { bytes: late };
    } catch (error) {
      signal.throwIfAborted();
      this.#log.warn("peers.redis_failed", { error });
      return "alone";
    }
  }

  /** The turn that this host still has, of a fetch that went wrong, or one of its own. */
  async #takeTurn(hex: string): Promise<Turn | undefined> {
    const { turnMs } = this.#limits;
    const kept = this.#turns.get(hex);
    if (kept && (await kept.renew(turnMs))) return kept;
    const turn = await this.#ledger.takeTurn(hex, turnMs);
    this.#turns.delete(hex);
    if (turn) this.#turns.set(hex, turn);
    forgetOldest(this.#turns);
    return turn;
  }

  /** From one of the hosts that have it, chosen by chance so that the first to have it does not serve all. */
  async #fromPeers(digest: Digest, hex: string, signal: AbortSignal): Promise<Bytes | undefined> {
    const tried = this.#triedOf(hex);
    const holders = (await this.#ledger.holders(hex)).filter(({ id }) => !tried.has(id));
    for (const holder of shuffled(holders).slice(0, MAX_ASKED)) {
      this.#remember(hex, holder.id);
      try {
        return await this.#client.open(holder, digest, signal);
      } catch (error) {
        signal.throwIfAborted();
        this.#log.warn("peers.host_failed", { host: holder.id, digest, error });
      }
    }
    return undefined;
  }

  async #fetch(
    hex: string,
    turn: Turn,
    { signal, fromRegistry }: { signal: AbortSignal; fromRegistry: FromRegistry },
  ): Promise<Bytes> {
    const stop = this.#renewing(turn); // The registry may have its callers wait, or be tried again.
    try {
      return this.#whileRenewed(hex, turn, await fromRegistry(signal));
    } catch (error) {
      await this.#giveBack(hex);
      throw error;
    } finally {
      stop();
    }
  }

  /** If Redis is away it is another's, after a while. Returns the way to stop. */
  #renewing(turn: Turn): () => void {
    const { turnMs, renewMs } = this.#limits;
    const timer = setInterval(() => void turn.renew(turnMs).catch(() => false), renewMs).unref();
    return () => clearInterval(timer);
  }

  async *#whileRenewed(hex: string, turn: Turn, bytes: Bytes): AsyncGenerator<Uint8Array, void> {
    const { turnMs, lingerMs } = this.#limits;
    const stop = this.#renewing(turn);
    const renew = (forMs: number) => turn.renew(forMs).catch(() => false);
    let whole = false;
    try {
      await renew(turnMs);
      yield* bytes;
      whole = true;
    } finally {
      stop();
      if (whole) await renew(lingerMs);
      else await this.#giveBack(hex);
    }
  }

  async #giveBack(hex: string): Promise<void> {
    const turn = this.#turns.get(hex);
    this.#turns.delete(hex);
    await turn?.release().catch(() => {}); // It goes by itself, only later.
  }

  async #say(hexes: readonly string[]): Promise<void> {
    await this.#ledger.hold(hexes).catch((error) => this.#log.warn("peers.redis_failed", { error }));
  }

  #triedOf(hex: string): ReadonlySet<string> {
    const tried = this.#tried.get(hex);
    if (tried && tried.untilMs > monotonicMs()) return tried.hosts;
    this.#tried.delete(hex);
    return new Set();
  }

  #remember(hex: string, host: string): void {
    const hosts = new Set([...this.#triedOf(hex), host]);
    this.#tried.delete(hex);
    this.#tried.set(hex, { hosts, untilMs: monotonicMs() + this.#limits.avoidMs });
    forgetOldest(this.#tried);
  }
}

const hexOf = (digest: string): string => digest.slice("sha256:".length);

function forgetOldest(map: Map<string, unknown>): void {
  for (const oldest of map.keys()) if (map.size > MAX_REMEMBERED) map.delete(oldest);
}

function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, at: Math.random() }))
    .toSorted((one, other) => one.at - other.at)
    .map(({ item }) => item);
}
