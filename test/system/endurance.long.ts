// The full form of endurance.ts, with its figures: `npm run test:long`.

import { endurance } from "./endurance.ts";

endurance({ runs: 5_000, rounds: 100, say: (figures) => console.log(figures) });
