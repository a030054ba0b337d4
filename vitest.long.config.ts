// What takes too long for `npm test`: `npm run test:long`.

import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    pool: "forks",
    include: ["test/**/*.long.ts"],
    fileParallelism: false,
    hookTimeout: 120_000,
    disableConsoleIntercept: true,
  },
});
