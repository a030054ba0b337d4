// The WWW-Authenticate header (RFC 9110, section 11.6.1): which ways of proving who we are a server takes.
//
// A real one: Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull"

export interface Challenge {
  /** In lower case: `bearer`, `basic`. */
  readonly scheme: string;
  /** Names in lower case; values unquoted. */
  readonly parameters: Readonly<Record<string, string>>;
}

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const PARAMETER = new RegExp(`(${TOKEN})[ \\t]*=[ \\t]*(?:"((?:[^"\\\\]|\\\\.)*)"|(${TOKEN}))`, "y");
const SCHEME = new RegExp(`(${TOKEN})(?:[ \\t]+|$|(?=,))`, "y");
const SEPARATORS = /[ \t,]*/y;

/** All challenges of the header, in its order. What cannot be read ends the list: a server's nonsense is not our error. */
export function parseChallenges(header: string): Challenge[] {
  const challenges: { scheme: string; parameters: Record<string, string> }[] = [];
  let position = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = position;
    const match = pattern.exec(header);
    if (match) position = pattern.lastIndex;
    return match;
  };
  for (take(SEPARATORS); position < header.length; take(SEPARATORS)) {
    const parameter = take(PARAMETER);
    const current = challenges.at(-1);
    if (parameter && current) {
      current.parameters[String(parameter[1]).toLowerCase()] = unquote(parameter);
      continue;
    }
    const scheme = parameter ? null : take(SCHEME);
    if (!scheme) break;
    challenges.push({ scheme: String(scheme[1]).toLowerCase(), parameters: Object.create(null) });
  }
  return challenges;
}

/** In a quoted string a backslash only protects the next character. */
function unquote([, , quoted, token]: RegExpExecArray): string {
  return quoted === undefined ? String(token) : quoted.replace(/\\(.)/g, "$1");
}
