// The command line of the two programs here: switches and nothing else.

/** The switches that were given. Throws for anything that is not one of `known`. */
export function parseSwitches<const T extends string>(argv: readonly string[], known: readonly T[]): Set<T> {
  const given = new Set<T>();
  for (const argument of argv) {
    const found = known.find((name) => name === argument);
    if (found === undefined)
      throw new Error(`unknown argument ${argument}; there ${known.length === 1 ? "is" : "are"} ${known.join(", ")}`);
    given.add(found);
  }
  return given;
}
