// --format: what a template shows, and what is wrong with one.

import { describe, expect, it } from "vitest";
import { paintFor } from "../../../cli/colour.ts";
import { parseTemplate } from "../../../cli/format.ts";
import { HostRecord } from "../../../core/host.ts";
import { ImageInfo } from "../../../core/images.ts";
import { Run } from "../../../core/run.ts";

const RUN = {
  id: "run_1",
  state: "finished",
  image: "busybox",
  labels: { "build.id": "7", job: "x" },
  attempt: 1,
  outcome: { kind: "exited", exitCode: 3 },
};

describe("a template", () => {
  it.each([
    ["{{.id}}\\t{{ .state }}", "run_1\tfinished"],
    ["{{.outcome.kind}} {{.outcome.exitCode}}", "exited 3"],
    ["{{.labels.job}}", "x"],
    ["{{json .labels}} {{.labels}}", '{"build.id":"7","job":"x"} {"build.id":"7","job":"x"}'],
    ["{{json .}}", JSON.stringify(RUN)],
    ["no field, {one} brace", "no field, {one} brace"],
    ["[{{.startedAt}}] {{json .receipt}}", "[] null"],
    ["{{.outcome.signal}}{{.receipt.phases.run}}", ""],
  ])("%j shows %j", (template, text) => expect(parseTemplate(template, Run)(RUN)).toBe(text));

  it("follows what is in lists", () => {
    expect(parseTemplate("{{.references.0}}", ImageInfo)({ references: ["a", "b"] })).toBe("a");
  });

  it("lets nothing that others have named steer the terminal", () => {
    expect(parseTemplate("{{.image}}", Run)({ ...RUN, image: "a\x1b[2Jb" })).toBe("a?[2Jb");
  });

  it.each([
    ["{{.ids}}", "there is no field .ids; did you mean id?"],
    ["{{.outcome.knd}}", "there is no field .outcome.knd; did you mean kind?"],
    ["{{json .outcome.knd}}", "there is no field .outcome.knd"],
    ["{{.state.x}}", "there is no field .state.x; .state has no fields"],
    ["{{.constructor}}", "there is no field .constructor; there are id, tenant, state, image"],
    ["{{id}}", "{{id}} is none of {{.}}"],
    ["{{.id", "has one of {{ and }} without the other"],
    ["{{range .labels}}", "{{range .labels}} is none of"],
  ])("%j is refused, and the error names what is wrong", (template, message) => {
    expect(() => parseTemplate(template, Run)).toThrow(message);
  });

  it("may show every field of a host", () => {
    for (const name of Object.keys(HostRecord.shape))
      expect(() => parseTemplate(`{{.${name}}}`, HostRecord)).not.toThrow();
    expect(() => parseTemplate("{{.duty.drainUntil}} {{.free.slots}}", HostRecord)).not.toThrow();
  });
});

describe("colours", () => {
  const terminal = {
    isOutput: true,
    isInput: true,
    size: () => ({ rows: 1, columns: 1 }),
    onResize: () => () => {},
    setRaw() {},
  };

  it.each([
    ["at a terminal", {}, true, true],
    ["elsewhere", {}, false, false],
    ["with NO_COLOR", { NO_COLOR: "1" }, true, false],
    ["with an empty NO_COLOR, which counts for none,", { NO_COLOR: "" }, true, true],
    ["at a terminal that has none", { TERM: "dumb" }, true, false],
  ])("%s are as they should be", (_, env, isOutput, isColoured) => {
    const paint = paintFor({ env, terminal: { ...terminal, isOutput } });
    expect(paint("x", "green") !== "x").toBe(isColoured);
    expect(paint("x", undefined)).toBe("x");
  });
});
