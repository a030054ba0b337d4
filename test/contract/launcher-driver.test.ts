// The launcher driver: with blanks kept ready, and with none, where each sandbox is made when it is asked for.

import { makeRuntime } from "../helpers/runtime.ts";
import { sandboxDriverContract } from "./sandbox-driver.ts";

sandboxDriverContract("launcher (with blanks)", () => makeRuntime({ driver: "launcher", blanks: { min: 4, max: 16 } }));
sandboxDriverContract("launcher (without)", () => makeRuntime({ driver: "launcher", blanks: { min: 0, max: 0 } }));
