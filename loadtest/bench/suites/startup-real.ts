import type { Suite } from "./suite.ts";
export const startupReal: Suite = async () => ({ rows: [], ratios: [] });
