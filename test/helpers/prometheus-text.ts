// Reads Prometheus' text format as its specification has it, and refuses what is not of it.

export interface Metric {
  readonly type: string;
  /** By the line's name and labels as they stand, such as `x_bucket{le="1"}`. */
  readonly samples: ReadonlyMap<string, number>;
}

const NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*";
const LABEL = '[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\["\\\\n])*"';
const HELP = new RegExp(`^# HELP (${NAME}) (.+)$`);
const TYPE = new RegExp(`^# TYPE (${NAME}) (counter|gauge|histogram)$`);
const SAMPLE = new RegExp(`^(${NAME})(\\{${LABEL}(?:,${LABEL})*\\})? ([+-]?(?:Inf|\\d[0-9.e+-]*))$`);

/** By name. Throws with the first line that is wrong. */
export function parsePrometheus(text: string): ReadonlyMap<string, Metric> {
  if (!text.endsWith("\n")) throw new Error("the last line has no end");
  const metrics = new Map<string, { type: string; samples: Map<string, number> }>();
  let name = "";
  for (const line of text.slice(0, -1).split("\n")) {
    const help = HELP.exec(line)?.[1];
    const [, typed, type] = TYPE.exec(line) ?? [];
    if (help !== undefined) {
      if (metrics.has(help)) throw new Error(`a second time: ${line}`);
      name = help;
    } else if (typed !== undefined && type !== undefined) {
      if (typed !== name) throw new Error(`not below its help: ${line}`);
      metrics.set(name, { type, samples: new Map() });
    } else addSample(line, name, metrics.get(name));
  }
  return metrics;
}

function addSample(line: string, family: string, metric: { type: string; samples: Map<string, number> } | undefined) {
  const [, name = "", labels = "", value = ""] = SAMPLE.exec(line) ?? [];
  const suffix = name.slice(family.length);
  const suffixes = metric?.type === "histogram" ? ["_bucket", "_sum", "_count"] : [""];
  if (!metric || !name.startsWith(family) || !suffixes.includes(suffix))
    throw new Error(`is not of ${family}: ${line}`);
  const key = `${name}${labels}`;
  if (metric.samples.has(key)) throw new Error(`a second time: ${line}`);
  metric.samples.set(key, value === "+Inf" ? Number.POSITIVE_INFINITY : Number(value));
}
