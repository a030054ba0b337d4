import { expect, test } from "vitest";
import { RLIMITS, rlimitsWithin } from "../../../../runtime/bundle/rlimits.ts";

const limits = (files: string) => `Limit                     Soft Limit           Hard Limit           Units
Max cpu time              unlimited            unlimited            seconds
Max core file size        0                    unlimited            bytes
Max open files            ${files}files
`;

test.each([
  ["much", "1024                 20000                ", [1024, 4096]],
  ["no limit", "unlimited            unlimited            ", [1024, 4096]],
  ["less than the hard limit", "512                  2048                 ", [1024, 2048]],
  ["less than the soft one", "512                  512                  ", [512, 512]],
])(
  "of a host that has %s, a container has no more than it is to have, nor than there is",
  (_what, files, [soft, hard]) => {
    expect(rlimitsWithin(limits(files))).toEqual([
      { type: "RLIMIT_NOFILE", soft, hard },
      { type: "RLIMIT_CORE", soft: 0, hard: 0 },
    ]);
  },
);

test("a host's limits that cannot be read lower nothing", () => {
  expect(rlimitsWithin("")).toEqual(RLIMITS);
});
