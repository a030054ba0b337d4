// startup-real: what people run. Python and Node say hello, in images of Debian's packages: here the program's own start
// counts, and what the kernel has to read and map for it.

import type { ContenderName } from "../arguments.ts";
import { type DebianProgram, debianSubject } from "../debian-image.ts";
import { suiteReport } from "../report.ts";
import { absent, interleave, type Measured, reasonOf } from "../rounds.ts";
import type { Subject } from "../subject.ts";
import { type Bench, lanesOf, type Suite, withThose } from "./suite.ts";

const PROGRAMS: readonly DebianProgram[] = [
  { name: "python", packages: ["python3-minimal"], argv: ["python3", "-c", "print('hello')"] },
  { name: "node", packages: ["nodejs"], argv: ["node", "-e", "console.log('hello')"] },
];
const OF: readonly ContenderName[] = ["mayfly-http", "mayfly-runtime", "docker", "runc"];
const PAUSE_MS = 60;
const SETTLE_MS = 250;
const FULL = { rounds: 10, count: 3 };
const QUICK = { rounds: 2, count: 1 };

export const startupReal: Suite = async (bench) => {
  const { subjects, failed } = await makeSubjects(bench);
  const measured = subjects.length > 0 ? await measure(bench, subjects) : [];
  const ratios = PROGRAMS.flatMap(({ name }) => [
    `${name}-docker/${name}-mayfly-http`,
    `${name}-runc/${name}-mayfly-http`,
  ]);
  return suiteReport([...measured, ...failed], ratios);
};

async function makeSubjects({ workshop, cacheDir, say }: Bench): Promise<{ subjects: Subject[]; failed: Measured[] }> {
  const subjects: Subject[] = [];
  const failed: Measured[] = [];
  for (const program of PROGRAMS) {
    say(`making the image of ${program.name}`);
    try {
      subjects.push(await debianSubject(workshop, program, cacheDir));
    } catch (error) {
      failed.push(absent(program.name, "ms", `no image: ${reasonOf(error)}`));
    }
  }
  return { subjects, failed };
}

function measure(bench: Bench, subjects: readonly Subject[]): Promise<Measured[]> {
  const { rounds, count } = bench.isQuick ? QUICK : FULL;
  return withThose(bench, { of: OF, subjects }, async (opened) => {
    const lanes = subjects.flatMap((subject) =>
      lanesOf(opened, (name, contender) => [
        {
          name: `${subject.name}-${name}`,
          unit: "ms",
          note: () => contender.note,
          measure: () => contender.start(subject, { count, pauseMs: PAUSE_MS }),
        },
      ]),
    );
    const missing = opened.filter(({ contender }) => !contender);
    const rows = missing.flatMap(({ name, reason }) =>
      subjects.map((subject) => absent(`${subject.name}-${name}`, "ms", reason)),
    );
    return [...(await interleave(lanes, { rounds, settleMs: SETTLE_MS }, bench.say)), ...rows];
  });
}
