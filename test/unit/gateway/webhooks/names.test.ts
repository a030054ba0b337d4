// Against a name server of the test's own: UDP on loopback, with the few records that it is given.

import { createSocket } from "node:dgram";
import { once } from "node:events";
import { expect, onTestFinished, test } from "vitest";
import { ALLOW_NOTHING, parseAllowList } from "../../../../gateway/webhooks/allow-list.ts";
import { resolverFor } from "../../../../gateway/webhooks/names.ts";

const [A, AAAA] = [1, 28];
type Records = Readonly<Record<string, Readonly<Record<number, readonly number[]>>>>;

async function startNameServer(records: Records): Promise<{ address: string; asked: string[] }> {
  const socket = createSocket("udp4").bind(0, "127.0.0.1");
  await once(socket, "listening");
  onTestFinished(() => void socket.close());
  const asked: string[] = [];
  socket.on("message", (query, from) => {
    const { name, type, end } = questionOf(query);
    asked.push(name);
    socket.send(answerTo(query.subarray(0, end), records[name], type), from.port, from.address);
  });
  return { address: `127.0.0.1:${socket.address().port}`, asked };
}

/** RFC 1035, section 4.1.2: labels, each after its length, then type and class. */
function questionOf(query: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = [];
  let at = 12;
  for (let length = query.readUInt8(at); length > 0; length = query.readUInt8(at)) {
    labels.push(query.toString("latin1", at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join(".").toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 };
}

/** One answer, or none; a name that has no records at all does not exist. */
function answerTo(question: Buffer, known: Records[string] | undefined, type: number): Buffer {
  const data = known?.[type];
  const head = Buffer.from(question);
  head.writeUInt16BE(known ? 0x8180 : 0x8183, 2);
  head.writeUInt16BE(data ? 1 : 0, 6);
  head.writeUInt32BE(0, 8);
  if (!data) return head;
  const answer = Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 0, 0, data.length, ...data]);
  return Buffer.concat([head, answer]);
}

test("a name leads to all of its addresses, of both families", async () => {
  const v6 = [0x26, 0x06, 0x47, ...Array(12).fill(0), 1];
  const { address } = await startNameServer({
    "both.example": { [A]: [1, 2, 3, 4], [AAAA]: v6 },
    "four.example": { [A]: [1, 2, 3, 4] },
    "six.example": { [AAAA]: v6 },
  });
  const resolve = resolverFor(ALLOW_NOTHING, [address]);
  const four = { address: "1.2.3.4", family: 4 };
  const six = { address: "2606:4700::1", family: 6 };
  expect(await resolve("both.example")).toEqual([four, six]);
  expect(await resolve("four.example")).toEqual([four]);
  expect(await resolve("six.example")).toEqual([six]);
});

test("a name that there is not leads nowhere", async () => {
  const { address } = await startNameServer({});
  await expect(resolverFor(ALLOW_NOTHING, [address])("nowhere.example")).rejects.toThrow(/ENOTFOUND/);
});

test("what the host's own files call something is for the operator's names alone", async () => {
  const { address, asked } = await startNameServer({});
  await expect(resolverFor(ALLOW_NOTHING, [address])("localhost")).rejects.toThrow();
  const allowed = parseAllowList("localhost") ?? ALLOW_NOTHING;
  asked.length = 0;
  const found = await resolverFor(allowed, [address])("localhost");
  expect(found.map((each) => each.address)).toContain("127.0.0.1");
  expect(asked).toEqual([]);
});
