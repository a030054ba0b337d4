// The whole contract once more, against the launcher that checks every access to its memory, and at its end what it has not freed.

import { afterAll, expect } from "vitest";
import { sanitizedPrograms } from "../helpers/launcher.ts";
import { makeRuntime } from "../helpers/runtime.ts";
import { sandboxDriverContract } from "./sandbox-driver.ts";

const { programsDir, report } = await sanitizedPrograms();

// Runs after the contract's own, which ends the launcher.
afterAll(async () => expect(await report()).toBe(""));

sandboxDriverContract("sanitized launcher", () =>
  makeRuntime({ driver: "launcher", programsDir, blanks: { min: 2, max: 8 } }),
);
