// What the commands about images show: sizes, tables, and the bars of a pull.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { table } from "../../../cli/commands/images.ts";
import { tellFailures } from "../../../cli/host-failures.ts";
import { humanSize } from "../../../cli/human-size.ts";
import { historyTable } from "../../../cli/image-actions.ts";
import { type Io, jsonText, note, noteJson, printJson } from "../../../cli/io.ts";
import { PullBoard } from "../../../cli/pull-board.ts";
import { Redraw } from "../../../cli/redraw.ts";
import type { Sink } from "../../../cli/sink.ts";
import type { HostPullEvent } from "../../../core/images.ts";
import { digestOf, imageInfo } from "../../helpers/fake-image-admin.ts";

describe("a size", () => {
  it.each([
    [0, "0B"],
    [999, "999B"],
    [1_288_490, "1.2MiB"],
    [1_073_741_824, "1.0GiB"],
    [1_073_741_823, "1.0GiB"],
    [5 * 2 ** 40, "5.0TiB"],
  ])("of %d bytes is %s to people", (bytes, text) => expect(humanSize(bytes)).toBe(text));

  it("is short, whatever it is", () => {
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 49 }), (bytes) => {
        expect(humanSize(bytes).length).toBeLessThanOrEqual(8);
      }),
    );
  });
});

describe("the list of images", () => {
  const NOW = Date.parse("2026-01-02T03:05:06.000Z");

  it("has a row for a name, with the hosts that have it and the last use on any of them", () => {
    const one = imageInfo("busybox:1");
    const other = { ...one, references: ["busybox:1", "busybox:latest"], lastUsedAt: "2026-01-02T03:05:00.000Z" };
    const rows = table(
      [
        { host: "a", image: one },
        { host: "b", image: other },
      ],
      NOW,
    );
    expect(rows[0]).toMatch(/^REFERENCE +DIGEST +SIZE +ON DISK +USED +HOSTS$/);
    expect(rows[1]).toMatch(/^busybox:1 +[0-9a-f]{12} +1\.0KiB +2\.4KiB +6s +a,b$/);
    expect(rows[2]).toMatch(/^busybox:latest .* b$/);
    expect(rows).toHaveLength(3);
  });

  it("shows an image that has lost its name, and tells two of the same name apart", () => {
    const nameless = { ...imageInfo("x"), references: [] };
    const moved = { ...imageInfo("y"), references: ["x"] };
    const rows = table(
      [
        { host: "a", image: nameless },
        { host: "b", image: imageInfo("x") },
        { host: "c", image: moved },
      ],
      NOW,
    );
    expect(rows.map((row) => row.split(" ")[0])).toEqual(["REFERENCE", "-", "x", "x"]);
  });

  it("shows nothing that could steer the terminal", () => {
    const evil = { ...imageInfo("x"), references: ["x\u001b[2J"] };
    expect(table([{ host: "a", image: evil }], NOW).join()).not.toContain("\u001b");
    const step = { createdBy: `RUN \u001b]0;x${"y".repeat(100)}` };
    expect(historyTable([step], NOW).join()).not.toContain("\u001b");
  });
});

describe("what others have written", () => {
  const written = async (tell: (io: Io) => Promise<unknown>): Promise<string> => {
    const parts: (string | Uint8Array)[] = [];
    const sink: Sink = { write: async (part) => void parts.push(part) };
    await tell({ stdout: sink, stderr: sink } as Partial<Io> as Io);
    return parts.join("");
  };
  const EVIL = "\u001b[2Ja\u009bb\u007f\r\u202e";

  it("is told without what could steer the terminal, line by line", async () => {
    expect(await written((io) => note(io, `one ${EVIL}\n  two`))).toBe("mayfly: one ?[2Ja?b???\n  two\n");
    const failed = [{ host: "a", error: { code: "not_found", reason: "image_not_found", message: EVIL } }];
    expect(await written((io) => tellFailures(failed, { io, json: false }))).not.toContain("\u001b");
  });

  it("is the same text as JSON, which has no control character in it either", async () => {
    for (const print of [printJson, noteJson]) {
      const line = await written((io) => print(io, { [EVIL]: EVIL }));
      expect(line).toMatch(/^[^\p{Cc}]*\n$/u);
      expect(JSON.parse(line)).toEqual({ [EVIL]: EVIL });
    }
    expect(JSON.parse(jsonText({ a: [EVIL] }, 2))).toEqual({ a: [EVIL] });
  });
});

describe("the board of a pull", () => {
  const event = (host: string, name: string, bytes: number, state: "present" | "pulling" | "done" = "pulling") =>
    ({ host, kind: "layer", digest: digestOf(name), state, bytes, size: 1000 }) satisfies HostPullEvent;

  function board(...events: HostPullEvent[]): PullBoard {
    const board = new PullBoard();
    board.tell({ hosts: ["a", "b"] });
    for (const each of events) board.tell(each);
    return board;
  }

  it("has a bar for a layer, summed over the hosts that pull it", () => {
    const lines = board(event("a", "l", 500), event("b", "l", 1000, "done"), event("a", "m", 0, "present")).draw(
      10,
      200,
    );
    expect(lines).toEqual([
      expect.stringMatching(/^[0-9a-f]{12} \[={22} {8}\] 1\.5KiB of 2\.0KiB$/),
      expect.stringMatching(/^[0-9a-f]{12} present$/),
      "2 hosts: 1 of 2 layers, 0 of 2 done",
    ]);
  });

  it("fits the terminal: layers that are under way go before those that are done", () => {
    const events = Array.from({ length: 20 }, (_, i) => event("a", `l${i}`, 1000, i < 18 ? "done" : "pulling"));
    const lines = board(...events).draw(5, 40);
    expect(lines).toHaveLength(5);
    expect(lines.filter((line) => line.includes("[="))).toHaveLength(4);
    for (const line of lines) expect(line.length).toBeLessThan(40);
    for (const digest of ["l18", "l19"].map((name) => digestOf(name).slice(7, 19)))
      expect(lines.join()).toContain(digest);
  });

  it.each([0, 1, 2])("keeps to %d rows, with the sum alone if there is no room for more", (rows) => {
    const lines = board(event("a", "l", 500), event("a", "m", 500)).draw(rows, 40);
    expect(lines).toHaveLength(Math.max(1, rows));
    expect(lines.at(-1)).toMatch(/^2 hosts: /);
  });

  it("says each thing once where nothing can be drawn", () => {
    const quiet = new PullBoard();
    quiet.tell({ hosts: ["a"] });
    expect(quiet.tell(event("a", "l", 0))).toEqual([]);
    expect(quiet.tell(event("a", "l", 500))).toEqual([]);
    expect(quiet.tell(event("a", "l", 1000, "done"))).toEqual([expect.stringMatching(/^a: [0-9a-f]{12} done$/)]);
    expect(quiet.tell(event("a", "l", 1000, "done"))).toEqual([]);
    expect(quiet.tell({ host: "a", kind: "ready", reference: "x", digest: digestOf("x"), layers: 1 })).toEqual([
      `a: ready, ${digestOf("x")}`,
    ]);
  });

  it("is never longer than its bar, whatever a host tells", () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), (bytes, size) => {
        const one = board({ ...event("a", "l", bytes), size });
        expect(/\[(=* *)\]/.exec(one.draw(5, 200)[0] ?? "")?.[1]).toHaveLength(30);
      }),
    );
  });
});

describe("a redrawn screen", () => {
  it("takes the place of what it was, and has at its end what was last", async () => {
    let written = "";
    const write = async (text: string | Uint8Array) => {
      written += text;
    };
    const screen = new Redraw({ stdout: { write } });
    await screen.draw(() => ["one", "two"]);
    await screen.draw(() => ["not yet"]);
    await screen.draw(() => ["three"], { isLast: true });
    expect(written).toBe("\u001b[Jone\ntwo\n\u001b[2A\r\u001b[Jthree\n");
  });
});
