import { describe, expect, test } from "vitest";
import { ALLOW_NOTHING, type AllowList, parseAllowList } from "../../../../gateway/webhooks/allow-list.ts";
import { AddressRefused, Destinations } from "../../../../gateway/webhooks/destinations.ts";
import { isOuter } from "../../../../gateway/webhooks/outer-addresses.ts";

describe("out in the world", () => {
  test.each([
    ["this network", "0.0.0.0", "0.1.2.3"],
    ["private", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"],
    ["a carrier's", "100.64.0.1", "100.127.255.255"],
    ["loopback", "127.0.0.1", "127.255.255.255", "::1"],
    ["link-local, with the metadata of clouds", "169.254.169.254", "fe80::1", "febf::1", "fe80::1%eth0"],
    ["unspecified", "::"],
    ["documentation", "192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    ["protocol assignments and benchmarks", "192.0.0.1", "198.18.0.1", "198.19.255.255", "2001::1", "2001:1ff::1"],
    ["multicast", "224.0.0.1", "239.255.255.255", "ff02::1"],
    ["reserved and broadcast", "240.0.0.1", "255.255.255.255"],
    ["private in IPv6", "fc00::1", "fd00:ec2::254", "fec0::1"],
    ["IPv4 within IPv6", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "::ffff:0:1.1.1.1"],
    ["NAT64", "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1"],
    ["6to4 and its relays", "2002:7f00:1::", "2002:808:808::1", "192.88.99.1"],
    ["nothing that is an address", "", "example.com", "127.1", "0x7f.0.0.1"],
  ])("is not what is %s", (_, ...addresses) => {
    expect(addresses.filter(isOuter)).toEqual([]);
  });

  test("is everything else", () => {
    const outer = [
      "1.1.1.1",
      "8.8.8.8",
      "100.63.255.255",
      "100.128.0.1",
      "172.15.0.1",
      "172.32.0.1",
      "192.0.1.1",
      "223.255.255.255",
    ];
    const outerV6 = ["2606:4700::1111", "2001:4860:4860::8888", "2001:200::1", "2a00::1", "2003::1"];
    expect([...outer, ...outerV6].filter((address) => !isOuter(address))).toEqual([]);
  });
});

const allow = (text: string): AllowList => parseAllowList(text) ?? ALLOW_NOTHING;

describe("what an operator allows", () => {
  test("is addresses, networks and names of hosts", () => {
    const list = allow("10.0.0.0/8,fd00::/8, 127.0.0.1 ,Hooks.Internal");
    expect(["10.9.8.7", "fd12::1", "127.0.0.1", "::ffff:10.0.0.1"].filter((each) => !list.hasAddress(each))).toEqual(
      [],
    );
    expect(["11.0.0.1", "127.0.0.2", "fe80::1", "hooks.internal", ""].filter(list.hasAddress)).toEqual([]);
    expect(["hooks.internal", "internal", "x.hooks.internal"].filter(list.hasName)).toEqual(["hooks.internal"]);
  });

  test.each([
    "",
    "10.0.0.0/33",
    "10.0.0/8",
    "fd00::/129",
    "10.0.0.1,",
    "http://a",
    "a:80",
    "*.internal",
    "a b",
    "-a",
    "10.0.0.1/",
  ])("is refused if it was mistyped: %j", (text) => expect(parseAllowList(text)).toBeUndefined());
});

describe("the URL of a webhook", () => {
  const faultOf = (url: string, allowed = "") => new Destinations(allow(allowed)).faultOf(new URL(url));

  test.each([
    "https://example.com/a?b=c",
    "https://example.com:8443/",
    "https://1.1.1.1/",
    "https://[2606:4700::1111]/",
  ])("may lead out into the world: %s", (url) => expect(faultOf(url)).toBeUndefined());

  test.each([
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://127.0.0.1./",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://169.254.169.254/latest/meta-data/",
  ])("may not be an inner address, however it is written: %s", (url) => {
    expect(faultOf(url)).toBe("is an address that webhooks may not be sent to");
  });

  test("may be one that the operator allows, and only that", () => {
    expect(faultOf("https://10.1.1.1/", "10.0.0.0/8")).toBeUndefined();
    expect(faultOf("http://10.1.1.1:9/", "10.0.0.0/8")).toBeUndefined();
    expect(faultOf("http://hooks.internal/", "hooks.internal")).toBeUndefined();
    expect(faultOf("https://[fd00::1]/", "fd00::/8")).toBeUndefined();
    expect(faultOf("https://192.168.0.1/", "10.0.0.0/8")).toBeDefined();
  });

  test("is of https wherever the operator has not allowed the host by name or address", () => {
    expect(faultOf("http://example.com/", "10.0.0.0/8")).toMatch(/is not of https/);
    expect(faultOf("http://1.1.1.1/")).toMatch(/is not of https/);
  });
});

describe("what a name leads to", () => {
  const lookUp = (addresses: string[], { allowed = "", name = "a.example" } = {}) => {
    const resolve = async () => addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
    const { lookup } = new Destinations(allow(allowed), resolve);
    return new Promise((done) => lookup(name, { all: true }, (error, found) => done(error ?? found)));
  };

  test("is connected to if all of it is out in the world", async () => {
    expect(await lookUp(["1.1.1.1", "2606:4700::1111"])).toEqual([
      { address: "1.1.1.1", family: 4 },
      { address: "2606:4700::1111", family: 6 },
    ]);
  });

  test.each(["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1"])(
    "is not connected to if %s is among it",
    async (address) => {
      expect(await lookUp(["1.1.1.1", address])).toBeInstanceOf(AddressRefused);
    },
  );

  test("may be inner where the operator allows the address, or the name whatever it leads to", async () => {
    expect(await lookUp(["10.0.0.1"], { allowed: "10.0.0.0/8" })).toHaveLength(1);
    expect(await lookUp(["10.0.0.1"], { allowed: "a.example" })).toHaveLength(1);
    expect(await lookUp(["10.0.0.1"], { allowed: "b.example" })).toBeInstanceOf(AddressRefused);
  });
});
