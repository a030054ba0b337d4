// The samplers that OTEL_TRACES_SAMPLER names.

import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  ParentBasedSampler,
  type Sampler,
  TraceIdRatioBasedSampler,
} from "@opentelemetry/sdk-trace";
import type { OtelSettings } from "../settings.ts";

/** `parentbased_…` heeds what the caller says of his trace, so that a trace is recorded whole or not at all. */
export function samplerOf({ sampler, samplerRatio }: Pick<OtelSettings, "sampler" | "samplerRatio">): Sampler {
  const root = rootOf(sampler.replace("parentbased_", ""), samplerRatio);
  return sampler.startsWith("parentbased_") ? new ParentBasedSampler({ root }) : root;
}

function rootOf(name: string, ratio: number): Sampler {
  if (name === "traceidratio") return new TraceIdRatioBasedSampler(ratio);
  return name === "always_off" ? new AlwaysOffSampler() : new AlwaysOnSampler();
}
