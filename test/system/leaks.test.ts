// The short form of leaks.ts.

import { leaks } from "./leaks.ts";

leaks({ runs: 150, say: () => {} });
