import { expect, test } from "vitest";
import { createOriginPolicy } from "../../../../runtime/registry/origin.ts";

const policy = createOriginPolicy(["registry.internal:5000", "plain.example", "Eighty.example:80"]);

test.each([
  ["127.0.0.1:5000", "http:"],
  ["127.200.3.4", "http:"],
  ["localhost:5000", "http:"],
  ["[::1]:5000", "http:"],
  ["registry.internal:5000", "http:"],
  ["plain.example:8080", "http:"],
  ["registry.internal", "https:"],
  ["eighty.example:80", "http:"],
  ["eighty.example", "https:"],
  ["127.0.0.1.example.com", "https:"],
  ["localhost.example.com", "https:"],
  ["10.0.0.1:5000", "https:"],
  ["ghcr.io", "https:"],
])("%s is spoken to over %s", (host, protocol) => {
  expect(new URL(policy.originOf(host)).protocol).toBe(protocol);
});

test.each([
  ["https://storage.example/x", "https://ghcr.io", true],
  ["https://storage.example/x", "http://localhost", true],
  ["https://10.0.0.1/x", "https://ghcr.io", true],
  ["https://169.254.169.254/latest", "https://ghcr.io", false],
  ["https://2852039166/latest", "https://ghcr.io", false],
  ["https://127.0.0.1/x", "https://ghcr.io", false],
  ["https://localhost/x", "https://ghcr.io", false],
  ["https://a.localhost/x", "https://ghcr.io", false],
  ["https://0.0.0.0/x", "https://ghcr.io", false],
  ["https://[::1]/x", "https://ghcr.io", false],
  ["https://[::ffff:169.254.169.254]/x", "https://ghcr.io", false],
  ["https://[fe80::1]/x", "https://ghcr.io", false],
  ["https://[fd00:ec2::254]/x", "https://ghcr.io", false],
  ["https://[64:ff9b::a9fe:a9fe]/x", "https://ghcr.io", false],
  ["https://100.100.100.200/latest", "https://ghcr.io", false],
  ["https://168.63.129.16/x", "https://ghcr.io", false],
  ["https://[fd20:ce::254]/x", "https://ghcr.io", false],
  ["https://100.64.0.1/x", "https://ghcr.io", true],
  ["https://[2001:db8::1]/x", "https://ghcr.io", true],
  ["https://127.0.0.1/x", "https://127.0.0.1", true],
  ["https://169.254.169.254/x", "http://localhost", true],
  ["https://169.254.169.254/x", "https://plain.example", true],
  ["http://localhost/x", "http://127.0.0.1", true],
  ["http://eighty.example/x", "http://eighty.example:80", true],
  ["https://169.254.169.254/x", "http://eighty.example:80", true],
  ["https://169.254.169.254/x", "https://eighty.example", false],
  ["http://localhost/x", "https://ghcr.io", false],
  ["http://plain.example/x", "https://ghcr.io", false],
  ["http://storage.example/x", "http://localhost", false],
  ["ftp://localhost/x", "http://localhost", false],
  ["file:///etc/passwd", "http://localhost", false],
])("going to %s from %s is allowed: %s", (url, from, allowed) => {
  expect(policy.whyNot(new URL(url), new URL(from)) === undefined).toBe(allowed);
});
