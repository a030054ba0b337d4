// The floor: what the kernel alone must be paid for a container, by floor.c.

import { makeCgroupParents } from "../cgroups.ts";
import { rateOf, type Timed, timeEach } from "../native.ts";
import { UID_BASE } from "../settings.ts";
import type { Subject } from "../subject.ts";
import type { Workshop } from "../workshop.ts";
import type { Contender } from "./contender.ts";

const NOTES = {
  once: "cgroups, namespaces, overlay, pivot_root, /bin/true, and all of it gone again; no limits, /proc or /dev",
  joined:
    "the same from clone3 to wait, by a parent that is in the cgroups already: making and removing them is off the clock",
};

export const openFloor = (workshop: Workshop) => floorIn("once", workshop);
export const openFloorJoined = (workshop: Workshop) => floorIn("joined", workshop);

/** It always runs /bin/true: of the subject it takes the files. */
async function floorIn(mode: "once" | "joined", workshop: Workshop): Promise<Contender> {
  const mountpoint = await workshop.room("floor");
  const parents = makeCgroupParents(workshop.cgroup);
  const timed = ({ rootfs }: Subject): Timed => ({
    program: "floor",
    mode,
    args: [String(UID_BASE), rootfs, mountpoint, ...parents],
  });
  return {
    note: NOTES[mode],
    maxParallel: mode === "once" ? 128 : 0,
    prepare: async (subject) => void (await timeEach(timed(subject), { count: 1, pauseMs: 0 })),
    start: (subject, pace) => timeEach(timed(subject), pace),
    load: (subject, burst) => rateOf(timed(subject), burst),
    close: async () => {},
  };
}
