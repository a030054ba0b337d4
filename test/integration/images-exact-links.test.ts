// Hard links of a layer: to what came before them, and to what comes after.

import { afterEach, beforeEach, expect, test } from "vitest";
import { filesOf, hardLink, type SeenLayers, startSeeing, symlink } from "../helpers/seen-layers.ts";
import type { TarEntry } from "../helpers/tar-builder.ts";

let layers: SeenLayers;

beforeEach(async () => {
  layers = await startSeeing();
});
afterEach(() => layers.stop());

test("hard links to files that come later, in a chain and to symlinks, are links to the same file", async () => {
  const tree = await layers.see([
    hardLink("d/first", "d/second"),
    hardLink("d/second", "third"),
    hardLink("third", "z/file"),
    { path: "z/file", content: "late", modified: 5 },
    hardLink("z/early", "z/file"),
    symlink("z/symlink", "/nowhere"),
    hardLink("z/same-symlink", "z/symlink"),
  ]);
  for (const path of ["d/first", "d/second", "third", "z/early", "z/file"])
    expect(tree.get(path)).toMatchObject({ sameAs: "d/first", size: 4, modified: "5000000000" });
  expect(tree.get("z/symlink")).toMatchObject({ type: "symlink", target: "/nowhere", sameAs: "z/same-symlink" });
});

test("what comes after a hard link that waits for its target replaces it, and its name follows no later symlink", async () => {
  const tree = await layers.see([
    hardLink("to-file", "z"),
    { path: "to-file", content: "replaced" },
    hardLink("to-directory", "z"),
    { path: "to-directory/" },
    { path: "to-directory/in" },
    hardLink("twice", "y"),
    hardLink("twice", "z"),
    symlink("way", "here"),
    { path: "here/" },
    { path: "there/" },
    hardLink("way/link", "z"),
    symlink("way", "there"),
    { path: "y", content: "y" },
    { path: "z", content: "zz" },
  ]);
  expect(filesOf(tree)).toEqual(["here/link", "to-directory/in", "to-file", "twice", "way", "y", "z"]);
  expect(tree.get("to-file")).toMatchObject({ size: 8, sameAs: "to-file" });
  expect(tree.get("twice")).toMatchObject({ size: 2 });
  expect(tree.get("z")).toMatchObject({ sameAs: "here/link" });
});

test("a hard link to a name of the same file changes nothing", async () => {
  const same = [{ path: "usr/lib/x", content: "x" }, symlink("lib", "usr/lib"), hardLink("lib/x", "usr/lib/x")];
  const tree = await layers.see([...same, hardLink("again", "usr/lib/x"), hardLink("again", "usr/lib/x")]);
  expect(tree.get("usr/lib/x")).toMatchObject({ size: 1, sameAs: "again" });
});

test.each([
  ["that never comes", [hardLink("a/link", "b/never")], "cannot link a/link: its target b/never is not in the layer"],
  ["that is itself", [hardLink("self", "self")], "cannot link self: its target self is not in the layer"],
  ["in a circle", [hardLink("a", "b"), hardLink("b", "a")], "cannot link a: its target b is not in the layer"],
  ["that is a directory which comes later", [hardLink("a", "d"), { path: "d/" }], "cannot link a: "],
  [
    "for one too many links",
    Array.from({ length: 1025 }, (_, index) => hardLink(`l${index}`, "late")),
    "more than 1024 hard links to files that come after them, such as l1024",
  ],
] satisfies [string, TarEntry[], string][])(
  "a hard link to a file %s is refused by name",
  async (_what, layer, why) => {
    await expect(layers.see(layer)).rejects.toMatchObject({
      reason: "image_corrupt",
      message: expect.stringContaining(why),
    });
    expect(layers.host.layerNames()).toEqual([]);
  },
);

test("a thousand links that wait for each other, the last for a file, are all made", async () => {
  const links = Array.from({ length: 1024 }, (_, index) => hardLink(`l${index}`, `l${index + 1}`));
  const tree = await layers.see([...links, { path: "l1024" }]);
  expect(new Set([...tree.values()].map(({ sameAs }) => sameAs).filter(Boolean))).toEqual(new Set(["l0"]));
});
