// Every setting of the worker. `docs/configuration.md` is printed from this table and held to it by a test.

import {
  address,
  bool,
  type Config,
  count,
  duration,
  list,
  number,
  oneOf,
  optional,
  path,
  redisUrlFile,
  secretFile,
  size,
  someOf,
  text,
} from "../core/config.ts";
import { keyringFile } from "../core/secret.ts";
import { IMAGE_PATTERN_FORM, isImagePattern, WEAKNESS_NAMES } from "../runtime/index.ts";

export { WEAKNESSES } from "../runtime/index.ts";

/** A rule that can never match is a mistake, and one that would go unnoticed. */
const imagePatterns = (variable: string, says: string) => ({
  ...optional(list(variable, says)),
  form: `commas between patterns, each ${IMAGE_PATTERN_FORM}`,
  parse(value: string) {
    const patterns = value.split(",");
    return patterns.every(isImagePattern) ? patterns : undefined;
  },
});

export const WORKER_SETTINGS = {
  stateDir: path("MAYFLY_STATE_DIR", "The directory for images and sandboxes; one worker's alone.", {
    fallback: "/var/lib/mayfly",
  }),
  runDir: path(
    "MAYFLY_RUN_DIR",
    "An empty directory that every user may enter: a mount point, used in each sandbox's own mount namespace. Workers may share it.",
    { fallback: "/run/mayfly" },
  ),
  redisUrl: redisUrlFile("MAYFLY_REDIS_URL_FILE"),
  secretsKeys: keyringFile(),
  hostId: optional(
    text(
      "MAYFLY_HOST_ID",
      "This host's name in the cluster; the machine's host name without it. Two workers never share one.",
    ),
  ),
  pool: text("MAYFLY_POOL", "The pool of hosts that this one is of.", { fallback: "default" }),
  cpus: optional(number("MAYFLY_CPUS", "CPUs to give to runs; all that the machine has without it.")),
  memory: optional(size("MAYFLY_MEMORY", "Memory to give to runs; four fifths of the machine's without it.")),
  pids: count("MAYFLY_PIDS", "Processes and threads to give to runs.", { fallback: "16384", min: 1 }),
  slots: count("MAYFLY_SLOTS", "How many runs may be alive at once.", { fallback: "64", min: 1, max: 4096 }),
  cpuOvercommit: number(
    "MAYFLY_CPU_OVERCOMMIT",
    "By how much the CPU limits of the runs alive may exceed the CPUs given: most runs wait more than they compute.",
    { fallback: "4" },
  ),
  driver: oneOf(
    "MAYFLY_DRIVER",
    "Who makes containers: Mayfly's own launcher, or an OCI runtime's command line, which takes some 50 ms more.",
    ["launcher", "oci"],
    { fallback: "launcher" },
  ),
  blanksMin: count("MAYFLY_BLANKS_MIN", "How many containers the launcher keeps ready, without an image, at least.", {
    fallback: "4",
    min: 0,
    max: 1024,
  }),
  blanksMax: count(
    "MAYFLY_BLANKS_MAX",
    "And at most: between the two their number follows the busiest second of the last minute. 0 keeps none: each start takes longer.",
    { fallback: "64", min: 0, max: 1024 },
  ),
  launcherSocket: optional(
    path(
      "MAYFLY_LAUNCHER_SOCKET",
      "The socket of a launcher that runs by itself, as a service; without it the worker starts one.",
    ),
  ),
  ociRuntime: path(
    "MAYFLY_OCI_RUNTIME",
    "Of the driver oci: path of the OCI runtime, runc, crun, or any with that command line.",
    { fallback: "/usr/sbin/runc" },
  ),
  seccompProfile: path("MAYFLY_SECCOMP_PROFILE", "Path of the seccomp profile, in Docker's form.", {
    fallback: "/usr/share/containers/seccomp.json",
  }),
  uidBase: count(
    "MAYFLY_UID_BASE",
    "The host uid and gid of container root; the 65,536 ids from there belong to containers alone.",
    { fallback: "1895825408", min: 65_536, max: 4_294_836_224 },
  ),
  allowWeaker: optional(
    someOf(
      "MAYFLY_ALLOW_WEAKER",
      "In what this host may be weaker than the default, see below; without it the worker does not start on a host that is.",
      WEAKNESS_NAMES,
    ),
  ),
  registryAuth: secretFile(
    "MAYFLY_REGISTRY_AUTH_FILE",
    "A file of registry credentials in the form of Docker's config.json, credential helpers included.",
  ),
  registrySecretsDir: optional(
    path(
      "MAYFLY_REGISTRY_SECRETS_DIR",
      "A directory of registry credentials: for each registry a subdirectory host[:port] with the files username and password, or token (an OAuth2 refresh token).",
    ),
  ),
  registryCertsDir: optional(
    path(
      "MAYFLY_REGISTRY_CERTS_DIR",
      "A directory of certificates in the form of Docker's certs.d: for each host a subdirectory host[:port] with ca.crt, or client.cert and client.key, or all three.",
    ),
  ),
  registryMirrors: optional(
    list(
      "MAYFLY_REGISTRY_MIRRORS",
      "Mirrors (host=mirror[/prefix]) that are asked before a registry, in this order; each with its own credentials.",
    ),
  ),
  insecureRegistries: optional(
    list(
      "MAYFLY_INSECURE_REGISTRIES",
      "Registries (host:port) that may be spoken to over plain HTTP; loopback ones always may.",
    ),
  ),
  imagesAllow: imagePatterns(
    "MAYFLY_IMAGES_ALLOW",
    "The images that may be run, by their full references (`*`: within a component, `**`: across); all without it.",
  ),
  imagesDeny: imagePatterns("MAYFLY_IMAGES_DENY", "The images that may not be run, even if they are allowed."),
  imagesRequireDigest: bool("MAYFLY_IMAGES_REQUIRE_DIGEST", "Whether an image has to be named with its digest.", {
    fallback: "false",
  }),
  imagesDisk: optional(
    size(
      "MAYFLY_IMAGES_DISK",
      "What images may take on disk, archives that are being loaded included; the least recently used go when they take more. Without it, four fifths of the file system less what others have on it, and at least half of what these leave.",
    ),
  ),
  imagesListen: address(
    "MAYFLY_IMAGES_LISTEN",
    "Where this host answers the gateway and other hosts about its images; port 0 takes a free one. Hosts of several machines need an address that the others reach.",
    { fallback: "127.0.0.1:0" },
  ),
  imagesAddress: optional(
    address(
      "MAYFLY_IMAGES_ADDRESS",
      "Where the others find that, if it is elsewhere than it listens; needed when it listens on 0.0.0.0 or [::].",
      { portOptional: true },
    ),
  ),
  metricsListen: optional(
    address(
      "MAYFLY_METRICS_LISTEN",
      "Where this worker answers `GET /metrics`, to anybody who reaches it; port 0 takes a free one. Without it, nowhere.",
    ),
  ),
  askPeers: bool(
    "MAYFLY_PEERS",
    "Whether layers are fetched from other hosts that have them, and from the registry by one host at a time.",
    { fallback: "true" },
  ),
  maxArchive: size("MAYFLY_MAX_ARCHIVE_BYTES", "The largest archive of images that may be loaded.", {
    fallback: "20GiB",
  }),
  drain: duration("MAYFLY_DRAIN", "How long runs may go on after SIGTERM, before they are killed and given back.", {
    fallback: "30s",
  }),
  retention: duration("MAYFLY_RETENTION", "How long a finished run and its output are kept.", {
    fallback: "24h",
    minMs: 60_000,
  }),
} as const;

export type WorkerConfig = Config<typeof WORKER_SETTINGS>;
