// The full form of leaks.ts, with its figures: `npm run test:long`.

import { leaks } from "./leaks.ts";

leaks({ runs: 5_000, say: (figures) => console.log(figures) });
