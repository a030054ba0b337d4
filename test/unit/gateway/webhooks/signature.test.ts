import { expect, test } from "vitest";
import { newSecret, sign } from "../../../../gateway/webhooks/signature.ts";

/** Each computed with `openssl dgst -sha256 -mac HMAC -macopt hexkey:… -binary | base64`; the first is in the specification's libraries, too. */
test.each([
  {
    secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    signed: { id: "msg_p5jXN8AQM9LWM0D4loKWxJek", epochSeconds: 1614265330, body: '{"test": 2432232314}' },
    signature: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
  },
  {
    secret: "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    signed: {
      id: "run_01k3zq5w7h8m2n4p6r8t0v2x4z-finished",
      epochSeconds: 1764000000,
      body: '{"type":"run.finished"}',
    },
    signature: "v1,Jly6mAfTNyMKUyOQkE+qDC8HrX9lJGvog8lo+NEAKDE=",
  },
])("the signature is the one that openssl makes: $signature", ({ secret, signed, signature }) => {
  expect(sign(signed, [secret])).toBe(signature);
});

test("each secret has its signature, in order and separated by a space", () => {
  const [first, second] = [newSecret(), newSecret()];
  const signed = { id: "a", epochSeconds: 1, body: "{}" };
  expect(sign(signed, [first, second])).toBe(`${sign(signed, [first])} ${sign(signed, [second])}`);
});

test("a secret has the specification's form and length, and is like no other", () => {
  const secrets = Array.from({ length: 100 }, newSecret);
  for (const secret of secrets) {
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]+=*$/);
    expect(Buffer.from(secret.slice(6), "base64")).toHaveLength(32);
  }
  expect(new Set(secrets).size).toBe(100);
});
