import { expect, test } from "vitest";
import { disposition } from "../../../gateway/part.ts";

test.each([
  ["report.json", `attachment; filename="report.json"; filename*=UTF-8''report.json`],
  ['a"; filename="b', `attachment; filename="a___filename__b"; filename*=UTF-8''a%22%3B%20filename%3D%22b`],
  ["a\r\nset-cookie: b", `attachment; filename="a__set-cookie__b"; filename*=UTF-8''a%0D%0Aset-cookie%3A%20b`],
  ["é'(*)", `attachment; filename="_____"; filename*=UTF-8''%C3%A9%27%28%2a%29`],
  ["\ud800", `attachment; filename="_"; filename*=UTF-8''%EF%BF%BD`],
])("a browser saves %j under its name, and nothing in it is taken for a part of the head", (name, head) => {
  expect(disposition(name)).toBe(head);
});
