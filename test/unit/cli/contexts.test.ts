// Contexts: the file that holds them, and what goes before what.

import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { contextsPath, readContexts, writeContexts } from "../../../cli/contexts.ts";
import { readSettings } from "../../../cli/settings.ts";

let home: string;
let env: Record<string, string>;

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "mayfly-contexts-"));
  env = { XDG_CONFIG_HOME: home };
  writeFileSync(join(home, "key"), "of-file\n");
  writeContexts(env, {
    current: "here",
    contexts: {
      here: { url: "http://here", apiKey: "of-here" },
      there: { url: "http://there", apiKeyFile: join(home, "key") },
      open: { url: "http://open" },
    },
  });
});
afterEach(() => rmSync(home, { recursive: true }));

const path = () => join(home, "mayfly/contexts.json");

describe("the file of contexts", () => {
  it("is the user's own: 0600 in 0700, whatever it was before", () => {
    expect(statSync(path()).mode & 0o777).toBe(0o600);
    expect(statSync(join(home, "mayfly")).mode & 0o777).toBe(0o700);
    chmodSync(path(), 0o644);
    writeContexts(env, { contexts: {} });
    expect(statSync(path()).mode & 0o777).toBe(0o600);
  });

  it("is refused if it holds a key and is open to others, and the error says what to do", () => {
    chmodSync(path(), 0o640);
    expect(() => readContexts(env)).toThrow(`chmod 600 ${path()}`);
    writeFileSync(path(), readFileSync(path(), "utf8").replace('"apiKey": "of-here"', '"apiKeyFile": "/x"'));
    expect(() => readContexts(env)).not.toThrow();
  });

  it.each([
    ["{", "is not JSON"],
    ['{"contexts":{"a":{"url":"ftp://x"}}}', "contexts.a.url is not an http or https URL"],
    ['{"contexts":{"a":{"url":"http://x","key":"sesame"}}}', "contexts.a"],
    ['{"contexts":{"../a":{"url":"http://x"}}}', "contexts"],
  ])("%s is refused by its name, and nothing of a key is shown", (text, message) => {
    writeFileSync(path(), text, { mode: 0o600 });
    expect(() => readContexts(env)).toThrow(message);
    expect(() => readContexts(env)).toThrow(/^(?!.*sesame)/s);
  });

  it("lies where the XDG Base Directory Specification has it, and nowhere for who has no home", () => {
    expect(contextsPath({ XDG_CONFIG_HOME: "/c", HOME: "/h" })).toBe("/c/mayfly/contexts.json");
    expect(contextsPath({ XDG_CONFIG_HOME: "relative", HOME: "/h" })).toBe("/h/.config/mayfly/contexts.json");
    expect(contextsPath({})).toBeUndefined();
    expect(readContexts({})).toEqual({ contexts: {} });
  });
});

describe("which gateway and which key", () => {
  const key = { MAYFLY_API_KEY: "of-env" };
  const url = { MAYFLY_URL: "http://env" };

  it.each<[string, Record<string, string>, { url?: string; context?: string }, string, string | undefined]>([
    ["the context in use", {}, {}, "http://here", "of-here"],
    ["the context that the environment names", { MAYFLY_CONTEXT: "there" }, {}, "http://there", "of-file"],
    ["that of the environment, with no context's key,", url, {}, "http://env", undefined],
    ["that of the environment before its context", { ...url, MAYFLY_CONTEXT: "there" }, {}, "http://env", undefined],
    ["the environment's key before the context's", key, {}, "http://here", "of-env"],
    ["the flag's context before the environment", { ...url, ...key }, { context: "there" }, "http://there", "of-file"],
    ["the environment's key for a context that has none", key, { context: "open" }, "http://open", "of-env"],
    ["the flag, with the environment's key only,", { ...url, ...key }, { url: "http://flag" }, "http://flag", "of-env"],
    ["the flag, with no context's key,", {}, { url: "http://flag" }, "http://flag", undefined],
  ])("%s", (_, more, flags, expectedUrl, apiKey) => {
    expect(readSettings({ ...env, ...more }, flags)).toEqual({ url: expectedUrl, apiKey });
  });

  it("is this machine's without any", () => {
    writeContexts(env, { contexts: {} });
    expect(readSettings(env, {})).toEqual({ url: "http://127.0.0.1:8080", apiKey: undefined });
  });

  it("is told as an error if there is no such context, or its key file is not there, or two are named", () => {
    expect(() => readSettings(env, { context: "her" })).toThrow('there is no context "her"; did you mean here?');
    expect(() => readSettings({ XDG_CONFIG_HOME: "/none", MAYFLY_CONTEXT: "x" }, {})).toThrow("mayfly context create");
    rmSync(join(home, "key"));
    expect(() => readSettings(env, { context: "there" })).toThrow("the key file of the context there");
    expect(() => readSettings(env, { context: "there", url: "http://x" })).toThrow("exclude each other");
  });
});
