// Which variables each process of Mayfly is given. A process refuses to start with a variable that it does not know, so
// each gets its own; what nobody knows is refused here, and not dropped in silence. A test holds the lists to the tables.

export const GATEWAY_VARIABLES: readonly string[] = [
  "MAYFLY_LISTEN_HOST",
  "MAYFLY_LISTEN_PORT",
  "MAYFLY_API_KEYS_FILE",
  "MAYFLY_GATEWAY_USER",
  "MAYFLY_BATCH_IDLE",
  "MAYFLY_MAX_BATCHES",
  "MAYFLY_MAX_BATCH_ITEMS",
  "MAYFLY_MAX_BATCH_LINE",
  "MAYFLY_MAX_BATCH_WAITING",
  "MAYFLY_MAX_BODY",
  "MAYFLY_MAX_ARCHIVE_BYTES",
  "MAYFLY_MAX_STDIN",
  "MAYFLY_MAX_UPLOAD",
  "MAYFLY_TENANT_UPLOADS",
  "MAYFLY_UPLOAD_LIFE",
  "MAYFLY_SECRETS_KEY_FILE",
  "MAYFLY_POOLS",
  "MAYFLY_MAX_QUEUED",
  "MAYFLY_MAX_WAITING",
  "MAYFLY_MAX_KEPT",
  "MAYFLY_WEBHOOK_ALLOW",
  "MAYFLY_WEBHOOK_ATTEMPTS",
  "MAYFLY_WEBHOOK_TIMEOUT",
  "MAYFLY_RETENTION",
];

export const WORKER_VARIABLES: readonly string[] = [
  "MAYFLY_RUN_DIR",
  "MAYFLY_SECRETS_KEY_FILE",
  "MAYFLY_HOST_ID",
  "MAYFLY_POOL",
  "MAYFLY_CPUS",
  "MAYFLY_MEMORY",
  "MAYFLY_PIDS",
  "MAYFLY_SLOTS",
  "MAYFLY_CPU_OVERCOMMIT",
  "MAYFLY_DRIVER",
  "MAYFLY_BLANKS_MIN",
  "MAYFLY_BLANKS_MAX",
  "MAYFLY_LAUNCHER_SOCKET",
  "MAYFLY_OCI_RUNTIME",
  "MAYFLY_SECCOMP_PROFILE",
  "MAYFLY_UID_BASE",
  "MAYFLY_ALLOW_WEAKER",
  "MAYFLY_REGISTRY_AUTH_FILE",
  "MAYFLY_INSECURE_REGISTRIES",
  "MAYFLY_IMAGES_DISK",
  "MAYFLY_IMAGES_REQUIRE_DIGEST",
  "MAYFLY_IMAGES_DENY",
  "MAYFLY_IMAGES_ALLOW",
  "MAYFLY_REGISTRY_MIRRORS",
  "MAYFLY_REGISTRY_CERTS_DIR",
  "MAYFLY_REGISTRY_SECRETS_DIR",
  "MAYFLY_METRICS_LISTEN",
  "MAYFLY_IMAGES_LISTEN",
  "MAYFLY_IMAGES_ADDRESS",
  "MAYFLY_PEERS",
  "MAYFLY_MAX_ARCHIVE_BYTES",
  "MAYFLY_DRAIN",
  "MAYFLY_RETENTION",
];

/** What is the stack's: below this directory the worker has one of its own. */
export const STACK_VARIABLES: readonly string[] = ["MAYFLY_STATE_DIR"];

/** For programs that are not Mayfly's: some take settings from the environment, and none is wanted from there. */
export const PLAIN_ENVIRONMENT = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  LANG: "C.UTF-8",
  HOME: "/nonexistent",
};

/** What the `mayfly` command reads. It may well be set in the shell that starts a stack, and is none of a stack's business. */
export const COMMAND_VARIABLES: readonly string[] = ["MAYFLY_URL", "MAYFLY_API_KEY", "MAYFLY_API_KEY_FILE"];

export type Environment = Readonly<Record<string, string | undefined>>;

/** Throws an error that names every `MAYFLY_*` variable that no process of the stack takes from its caller. */
export function refuseUnknown(env: Environment): void {
  const known = new Set([...GATEWAY_VARIABLES, ...WORKER_VARIABLES, ...STACK_VARIABLES, ...COMMAND_VARIABLES]);
  const unknown = Object.keys(env).filter((name) => name.startsWith("MAYFLY_") && !known.has(name));
  if (unknown.length > 0) throw new Error(`the stack takes no ${unknown.join(", ")}; unset it`);
}

/** The environment of a Mayfly process: `settings`, over what the caller set of `variables`, over what is not Mayfly's. */
export function environmentOf(
  variables: readonly string[],
  env: Environment,
  settings: Record<string, string>,
): Record<string, string> {
  const isPassed = (name: string) =>
    variables.includes(name) || !(name.startsWith("MAYFLY_") || name.startsWith("npm_"));
  const passed = Object.entries(env).filter(
    (entry): entry is [string, string] => entry[1] !== undefined && isPassed(entry[0]),
  );
  return { ...Object.fromEntries(passed), ...settings };
}

/** Milliseconds of a duration such as `1m30s`. What is none is 0: the process that takes the setting says what is wrong. */
export function durationMs(text: string): number {
  const units: Record<string, number> = { ms: 1, s: 1e3, m: 60e3, h: 3600e3, d: 86400e3 };
  return [...text.matchAll(/(\d+)(ms|[smhd])/g)].reduce(
    (sum, [, count, unit]) => sum + Number(count) * (units[unit ?? ""] ?? 0),
    0,
  );
}
