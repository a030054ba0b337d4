// A RUN frame as a driver would send it.

import { encodeRun, type RunFrame } from "../../../../runtime/launcher/protocol.ts";

export const RUN: RunFrame = {
  id: "run_1-1",
  hostname: "host",
  layers: ["/layers/sha256/aa"],
  user: "app",
  workdir: "/srv",
  argv: ["sh", "-c", "exit 3"],
  env: ["PATH=/bin", "EMPTY="],
  keepHome: false,
  hasFiles: false,
  artifacts: undefined,
  limits: { cpus: 1, memoryBytes: 2 ** 26, pids: 64, diskBytes: 2 ** 24 },
  cpuQuotaUs: 100_000,
  deadlineMs: 8_000,
  terminal: undefined,
};

export const runFrame = (changes: Partial<RunFrame> = {}): Buffer => encodeRun({ ...RUN, ...changes });
