import { expect, test } from "vitest";
import { findUser } from "../../../gateway/privileges.ts";

const PASSWD =
  "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65533:nobody:/:/usr/sbin/nologin\nodd:x:a:b::/:\nshort\n";

test.each(["", "nobod", "NOBODY", "odd", "short", "65534"])("%j is no user, and the gateway does not start", (name) => {
  expect(() => findUser(name, PASSWD)).toThrow(expect.objectContaining({ reason: "configuration_invalid" }));
});

test("a user is found by its whole name, with its own group", () => {
  expect(findUser("nobody", PASSWD)).toEqual({ uid: 65534, gid: 65533 });
});
