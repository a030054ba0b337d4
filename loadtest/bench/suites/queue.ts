import type { Suite } from "./suite.ts";
export const queue: Suite = async () => ({ rows: [], ratios: [] });
