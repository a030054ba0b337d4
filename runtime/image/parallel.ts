// Bounded parallel work on a list.

/**
 * The results, in the list's order. When one call fails, the others are aborted, and it rejects with the first error only
 * when all of them have settled: nothing runs on behind the caller's back.
 */
export async function mapBounded<T, R>(
  items: readonly T[],
  work: (item: T, signal: AbortSignal) => Promise<R>,
  { limit, signal }: { limit: number; signal: AbortSignal },
): Promise<R[]> {
  const siblings = new AbortController();
  const either = AbortSignal.any([signal, siblings.signal]);
  const results: R[] = [];
  const queue = items.entries();
  const lane = async () => {
    for (const [index, item] of queue) {
      either.throwIfAborted();
      results[index] = await work(item, either);
    }
  };
  const lanes = Array.from({ length: Math.min(limit, items.length) }, () =>
    lane().catch((error: unknown) => {
      siblings.abort(error); // Only the first abort counts, so its reason is the first error.
    }),
  );
  await Promise.all(lanes);
  signal.throwIfAborted();
  siblings.signal.throwIfAborted();
  return results;
}
