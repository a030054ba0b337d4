import { Hono } from "hono";
import { expect, test } from "vitest";
import { MayflyError } from "../../../core/errors.ts";
import { answerPart, disposition } from "../../../gateway/part.ts";

test.each([
  ["report.json", `attachment; filename="report.json"; filename*=UTF-8''report.json`],
  ['a"; filename="b', `attachment; filename="a___filename__b"; filename*=UTF-8''a%22%3B%20filename%3D%22b`],
  ["a\r\nset-cookie: b", `attachment; filename="a__set-cookie__b"; filename*=UTF-8''a%0D%0Aset-cookie%3A%20b`],
  ["é'(*)", `attachment; filename="_____"; filename*=UTF-8''%C3%A9%27%28%2a%29`],
  ["\ud800", `attachment; filename="_"; filename*=UTF-8''%EF%BF%BD`],
])("a browser saves %j under its name, and nothing in it is taken for a part of the head", (name, head) => {
  expect(disposition(name)).toBe(head);
});

test("what cannot be read is told without a word of its length", async () => {
  const seen: Record<string, string>[] = [];
  const app = new Hono().get("/", (c) =>
    answerPart(c, {
      ...{ length: 1000, etag: '"a"', name: "x", type: "text/plain" },
      // biome-ignore lint/correctness/useYield: It fails before it has anything.
      read: async function* () {
        throw new MayflyError("queue_unavailable", "Redis does not answer");
      },
    }),
  );
  app.onError((_, c) => {
    const answer = c.body("why", 503);
    seen.push(Object.fromEntries(answer.headers));
    return answer;
  });
  await app.request("/");
  expect(seen.map((head) => [head["content-length"], head["content-disposition"]])).toEqual([[undefined, undefined]]);
});
