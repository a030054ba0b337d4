// The short form of endurance.ts.

import { endurance } from "./endurance.ts";

endurance({ runs: 500, rounds: 10, say: () => {} });
