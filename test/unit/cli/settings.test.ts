import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readSettings } from "../../../cli/settings.ts";

const directory = mkdtempSync(join(tmpdir(), "mayfly-cli-"));
const keyFile = join(directory, "key");
writeFileSync(keyFile, "from-file\n");
afterAll(() => rmSync(directory, { recursive: true }));

describe("the command's settings", () => {
  it("lead to the gateway of this host when nothing is set", () => {
    expect(readSettings({}, {})).toEqual({ url: "http://127.0.0.1:8080", apiKey: undefined });
  });

  it("take the flag before the variable, and the key before the file", () => {
    const env = { MAYFLY_URL: "http://one", MAYFLY_API_KEY: "from-env", MAYFLY_API_KEY_FILE: keyFile };
    expect(readSettings(env, { url: "http://two" })).toEqual({ url: "http://two", apiKey: "from-env" });
    expect(readSettings({ MAYFLY_API_KEY_FILE: keyFile }, {}).apiKey).toBe("from-file");
  });

  it("do not mind the variables of other processes", () => {
    expect(readSettings({ MAYFLY_LISTEN_PORT: "1" }, {}).url).toBe("http://127.0.0.1:8080");
  });

  it.each(["ftp://x", "gateway:8080", "not a URL", "http://user:secret@host"])("refuse the URL %j", (url) => {
    expect(() => readSettings({ MAYFLY_URL: url }, {})).toThrow(/MAYFLY_URL=.* is not an http or https URL/);
    expect(() => readSettings({}, { url })).toThrow(/--url .* is not an http or https URL/);
  });

  it("refuse a key file that is not there, rather than going without a key", () => {
    expect(() => readSettings({ MAYFLY_API_KEY_FILE: "/nowhere/key" }, {})).toThrow(/MAYFLY_API_KEY_FILE/);
  });

  it("never show a key, even one that cannot be used", () => {
    expect(() => readSettings({ MAYFLY_API_KEY: "sesame\nopen" }, {})).toThrow(/^(?!.*sesame)/s);
  });
});
