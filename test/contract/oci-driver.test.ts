// The oci driver with runc, the OCI runtime that works on every kind of cgroup host.

import { makeRuntime } from "../helpers/runtime.ts";
import { sandboxDriverContract } from "./sandbox-driver.ts";

sandboxDriverContract("oci (runc)", () => makeRuntime());
