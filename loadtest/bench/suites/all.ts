// The suites by name.

import type { SuiteName } from "../arguments.ts";
import { batch } from "./batch.ts";
import { cancel } from "./cancel.ts";
import { density } from "./density.ts";
import { flood } from "./flood.ts";
import { list } from "./list.ts";
import { pull } from "./pull.ts";
import { queue } from "./queue.ts";
import { start } from "./start.ts";
import { startupReal } from "./startup-real.ts";
import type { Suite } from "./suite.ts";
import { telemetry } from "./telemetry.ts";
import { throughput } from "./throughput.ts";
import { watchers } from "./watchers.ts";

export const SUITE: Readonly<Record<SuiteName, Suite>> = {
  start,
  throughput,
  density,
  queue,
  "startup-real": startupReal,
  pull,
  telemetry,
  list,
  watchers,
  batch,
  flood,
  cancel,
};
