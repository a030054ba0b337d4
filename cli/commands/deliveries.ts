// mayfly deliveries: what came of telling the webhooks of runs that they have finished.

import { DELIVERY_FAULTS, type Deliveries, type DeliveryAttempt } from "../../core/webhook.ts";
import { defineCommand } from "../command.ts";
import { eachRun } from "../each-run.ts";
import { printJson } from "../io.ts";
import { alignColumns } from "../table.ts";

export const deliveries = defineCommand({
  name: "deliveries",
  synopsis: "ID...",
  says: "Shows what came of telling the webhooks of runs that they have finished.",
  notes: ["An attempt is made again, later and later, until the receiver answers with a status of 2xx."],
  flags: { retry: { says: "Have it told once more, now." } },
  operands: { min: 1, max: Number.POSITIVE_INFINITY },
  examples: ["mayfly deliveries run_01k9xq2v7n3b8c5d6e7f8g9h0j", "mayfly deliveries --retry $id"],
  execute: ({ flags, operands, json, io, client }) =>
    eachRun(operands, { io, json, helpOf: "mayfly deliveries" }, async (id) => {
      const told = await (flags.retry ? client.webhooks.retry(id) : client.webhooks.deliveries(id));
      await (json ? printJson(io, { run: id, ...told }) : io.stdout.write(`${linesOf(id, told).join("\n")}\n`));
    }),
});

export function linesOf(id: string, { state, nextAttemptAt, attempts }: Deliveries): string[] {
  const next = nextAttemptAt === undefined ? "" : `, next attempt not before ${nextAttemptAt}`;
  const rows = attempts.map((each) => [String(each.attempt), each.at, tookOf(each), outcomeOf(each)]);
  const table = rows.length === 0 ? [] : alignColumns([["ATTEMPT", "AT", "TOOK", "ANSWER"], ...rows]);
  return [`${id}: ${state}${next}`, ...table];
}

const tookOf = ({ ms }: DeliveryAttempt) => (ms === undefined ? "-" : `${Math.round(ms)}ms`);

function outcomeOf({ status, fault }: DeliveryAttempt): string {
  if (status !== undefined) return String(status);
  return fault === undefined ? "none yet" : DELIVERY_FAULTS[fault];
}
