// The flags of `mayfly run`: named as docker's where docker has the thing, and as the API's fields where it has not.

import type { FlagTable } from "./flags.ts";

export const RUN_FLAGS = {
  artifact: { value: "PATTERN", many: true, says: "Keep files that it leaves, such as '/out/**'." },
  "artifacts-max": { value: "SIZE", says: "Bytes kept of them, together; 4MiB without it." },
  concurrency: { value: "KEY:MAX", says: "At most MAX of your runs with this key are on hosts at once." },
  cpus: { value: "NUMBER", says: "CPUs' worth of time, such as 0.5." },
  delay: { value: "DURATION", says: "Start no sooner than so long from now." },
  detach: { short: "d", says: "Print the run's id and return; it goes on without you." },
  disk: { value: "SIZE", says: "Bytes it may write to its files; held in memory." },
  entrypoint: { value: "PROGRAM", says: "Instead of the image's entrypoint; drops its command." },
  env: { short: "e", value: "NAME[=VALUE]", many: true, says: "Set a variable, or pass on your own." },
  "env-file": { value: "FILE", many: true, says: "Set the variables of a file, a line each." },
  file: { value: "LOCAL:/PATH[:MODE]", many: true, says: "A file of yours, there when the program starts." },
  grace: { value: "DURATION", says: "From SIGTERM to SIGKILL, such as 10s." },
  interactive: { short: "i", says: "Send your stdin to the program, as it comes." },
  label: { short: "l", value: "NAME[=VALUE]", many: true, says: "Words of your own, kept with the run." },
  memory: { short: "m", value: "SIZE", says: "Memory, such as 256m or 256MiB." },
  network: { value: "none", says: "Only none, which is the default." },
  "not-before": { value: "MOMENT", says: "Start no sooner than then, such as 2026-01-31T08:00:00Z." },
  "output-limit": { value: "SIZE", says: "Bytes kept of each of stdout and stderr." },
  "pids-limit": { value: "NUMBER", says: "Processes and threads alive at once." },
  pool: { value: "NAME", says: "The hosts to run on." },
  priority: { value: "NUMBER", says: "0 is first; a larger number is later." },
  pull: { value: "missing|always|never", says: "When the registry is asked what a tag stands for." },
  "queue-timeout": { value: "DURATION", says: "How long it may wait for a host, such as 10m." },
  retries: { value: "NUMBER", says: "Further attempts if its host is lost." },
  retry: { value: "NUMBER", says: "Attempts in all, if it ends badly." },
  "retry-delay": { value: "DURATION", says: "Before its second attempt; before each further one longer." },
  "retry-on": {
    value: "OUTCOME",
    many: true,
    says: "What is a bad end, commas between; all but rejected.",
  },
  rm: { says: "Accepted for docker's sake: a container never outlives its run." },
  "secret-env": { value: "NAME[=SECRET]", many: true, says: "Set a variable to a secret of the operator's." },
  timeout: { value: "DURATION", says: "How long the program may run, such as 1m30s." },
  tty: { short: "t", says: "Give it a terminal, which is yours; with -i for a shell." },
  upload: { value: "DIR[:/PATH]", says: "Send a directory's files, there under PATH, or /work." },
  "upload-id": { value: "UPLOAD[:/PATH]", says: "Have the files of an upload, likewise." },
  user: { short: "u", value: "USER[:GROUP]", says: "Name or number, looked up in the image." },
  webhook: { value: "URL", says: "Where to tell that the run has finished." },
  workdir: { short: "w", value: "PATH", says: "Working directory; made if the image lacks it." },
} as const satisfies FlagTable;

/** Flags of `docker run` that are likely to be tried, by name and by letter. */
export const ABSENT_RUN_FLAGS: Readonly<Record<string, string>> = withLetters({
  "detach-keys": "Ctrl-P Ctrl-Q leaves a run with a terminal",
  "volume v": "a run has no volumes; --upload DIR:/PATH sends a directory's files",
  mount: "a run has no volumes; --upload DIR:/PATH sends a directory's files",
  "publish p": "a run has no network",
  name: "a run is known by its id; --label NAME=VALUE adds words of yours",
  privileged: "a run is always confined",
  "stop-timeout": "use --grace DURATION",
  "memory-swap": "a run never swaps",
});

/** Which flag sets a field of the request, for messages. */
export const FLAG_OF_FIELD: Readonly<Record<string, string>> = {
  image: "IMAGE",
  command: "COMMAND",
  entrypoint: "--entrypoint",
  env: "--env",
  secretEnv: "--secret-env",
  workdir: "--workdir",
  user: "--user",
  terminal: "--tty",
  labels: "--label",
  network: "--network",
  pull: "--pull",
  files: "--file",
  upload: "--upload",
  "upload.id": "--upload-id",
  delay: "--delay",
  notBefore: "--not-before",
  concurrency: "--concurrency",
  retries: "--retries",
  retry: "--retry",
  "retry.on": "--retry-on",
  "retry.backoff": "--retry-delay",
  priority: "--priority",
  pool: "--pool",
  "webhook.url": "--webhook",
  "artifacts.paths": "--artifact",
  "artifacts.max": "--artifacts-max",
  "limits.cpus": "--cpus",
  "limits.memory": "--memory",
  "limits.pids": "--pids-limit",
  "limits.disk": "--disk",
  "limits.output": "--output-limit",
  "timeouts.queue": "--queue-timeout",
  "timeouts.run": "--timeout",
  "timeouts.grace": "--grace",
};

/** `{"tty t": …}` → the same under `tty` and under `t`. */
function withLetters(table: Readonly<Record<string, string>>): Record<string, string> {
  const entries = Object.entries(table);
  return Object.fromEntries(entries.flatMap(([names, says]) => names.split(" ").map((name) => [name, says])));
}
