import { expect, test } from "vitest";
import { outerLookup } from "../../../../runtime/registry/inner-address.ts";

test.each([{ all: true }, { all: false }])(
  "a name that leads to this machine leads nowhere, asked with %j",
  async (options) => {
    const error = await new Promise((resolve) => outerLookup("localhost", options, resolve));
    expect(String(error)).toContain("where a registry may not send us");
  },
);

test.each([
  [{ all: true }, [[{ address: "192.0.2.1", family: 4 }], undefined]],
  [{ all: false }, ["192.0.2.1", 4]],
])("an address out in the world is answered in the form that was asked for: %j", async (options, expected) => {
  const found = await new Promise((resolve, reject) =>
    outerLookup("192.0.2.1", options, (error, address, family) => (error ? reject(error) : resolve([address, family]))),
  );
  expect(found).toEqual(expected);
});
