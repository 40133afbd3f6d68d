import { describe, expect, test } from "bun:test";
import type { Address } from "@beckon/protocol";
import * as fc from "fast-check";

import { addressesOf, type Candidate, type Reach, selectAddresses } from "./select.ts";

function address(url: string, more: Partial<Address> = {}): Address {
  return {
    url,
    protocol: url.startsWith("ws") ? "ws" : "tcp",
    secure: /^(wss|tls):/.test(url),
    network: "",
    region: "",
    priority: 0,
    ...more,
  };
}

const of = (...addresses: Address[]) => ({ name: "eu-1", addresses });
const urls = (server: { addresses: readonly Address[] }) => server.addresses.map(({ url }) => url);
const both: Reach = { protocols: ["ws", "tcp"] };

describe("M7, M12: a server names its own addresses", () => {
  const server: Candidate = { name: "eu-1", state: "up", addresses: [address("wss://a")] };

  test("when it is up", () => {
    expect(addressesOf(server)).toEqual({ name: "eu-1", addresses: [address("wss://a")] });
  });

  test("and none when it is draining, full, or unknown", () => {
    const nowhere = { name: "", addresses: [] };
    expect(addressesOf({ ...server, state: "draining" })).toEqual(nowhere);
    expect(addressesOf({ ...server, full: true })).toEqual(nowhere);
    expect(addressesOf(undefined)).toEqual(nowhere);
  });
});

describe("M9: the addresses that suit the device", () => {
  test("a first and a second protocol, when it speaks both", () => {
    const server = of(address("wss://a"), address("wss://b"), address("tls://c"));
    expect(urls(selectAddresses(server, both))).toEqual(["wss://a", "tls://c", "wss://b"]);
    expect(urls(selectAddresses(server, both, 2))).toEqual(["wss://a", "tls://c"]);
  });

  test("the operator's priority decides before security, security before region", () => {
    const server = of(
      address("ws://plain", { priority: 1 }),
      address("wss://far", { priority: 2, region: "us" }),
      address("wss://near", { priority: 2, region: "eu" }),
      address("ws://near", { priority: 2, region: "eu" }),
    );
    expect(urls(selectAddresses(server, { protocols: ["ws"], region: "eu" }))).toEqual([
      "ws://plain",
      "wss://near",
      "wss://far",
      "ws://near",
    ]);
  });

  test("the network of the device first; of another, never", () => {
    const server = of(
      address("wss://everywhere"),
      address("wss://office", { network: "office" }),
      address("wss://hall", { network: "hall" }),
    );
    expect(urls(selectAddresses(server, { protocols: ["ws"], network: "hall" }))).toEqual([
      "wss://hall",
      "wss://everywhere",
    ]);
    expect(urls(selectAddresses(server, { protocols: ["ws"] }))).toEqual([
      "wss://everywhere",
      "wss://office",
      "wss://hall",
    ]);
  });

  test("what the device likes best, where all else is equal", () => {
    const server = of(address("wss://a"), address("tls://b"));
    expect(urls(selectAddresses(server, { protocols: ["tcp", "ws"] }))).toEqual([
      "tls://b",
      "wss://a",
    ]);
  });

  test("none that suits: no server is named", () => {
    expect(selectAddresses(of(address("tls://a")), { protocols: ["ws"] })).toEqual({
      name: "",
      addresses: [],
    });
    expect(selectAddresses(of(address("wss://a")), { protocols: [] }).name).toBe("");
  });
});

const someAddress = fc.record({
  url: fc.webUrl(),
  protocol: fc.constantFrom("ws", "tcp", "quic"),
  secure: fc.boolean(),
  network: fc.constantFrom("", "office", "hall"),
  region: fc.constantFrom("", "eu", "us"),
  priority: fc.integer({ min: 0, max: 3 }),
});
const someReach: fc.Arbitrary<Reach> = fc.record(
  {
    protocols: fc.uniqueArray(fc.constantFrom("ws", "tcp", "carrier-pigeon")),
    secure: fc.boolean(),
    network: fc.constantFrom("office", "hall"),
    region: fc.constantFrom("eu", "us"),
  },
  { requiredKeys: ["protocols"] },
);
const someServer: fc.Arbitrary<Candidate> = fc.record({
  name: fc.constant("eu-1"),
  state: fc.constantFrom("up" as const, "draining" as const),
  full: fc.boolean(),
  addresses: fc.array(someAddress, { maxLength: 12 }),
});

describe("for any server and device", () => {
  const property = (
    check: (chosen: readonly Address[], server: Candidate, device: Reach) => void,
  ): void => {
    fc.assert(
      fc.property(someServer, someReach, (server, device) => {
        check(selectAddresses(addressesOf(server), device).addresses, server, device);
      }),
      { numRuns: 500 },
    );
  };

  test("M12: never an address of a draining or full server", () => {
    property((chosen, server) => {
      if (server.state === "draining" || server.full === true) expect(chosen).toEqual([]);
    });
  });

  test("only the server's own, only protocols that the device speaks, secure where it wants that, at most four, none twice", () => {
    property((chosen, server, device) => {
      expect(chosen.length).toBeLessThanOrEqual(4);
      expect(new Set(chosen).size).toBe(chosen.length);
      for (const one of chosen) {
        expect(server.addresses).toContain(one);
        expect(device.protocols).toContain(one.protocol);
        if (device.secure === true) expect(one.secure).toBe(true);
        if (device.network !== undefined) expect(["", device.network]).toContain(one.network);
      }
    });
  });

  test("every protocol that both speak, before a second address of one", () => {
    property((chosen, server, device) => {
      const protocols = chosen.map(({ protocol }) => protocol);
      const distinct = new Set(protocols);
      expect(protocols.slice(0, distinct.size)).toEqual([...distinct]);
      if (server.state === "draining" || server.full === true) return;
      const common = server.addresses.filter(
        (one) =>
          device.protocols.includes(one.protocol) &&
          (device.secure !== true || one.secure) &&
          (device.network === undefined || ["", device.network].includes(one.network)),
      );
      expect(distinct).toEqual(new Set(common.map(({ protocol }) => protocol)));
    });
  });

  test("the same again for the same input", () => {
    property((chosen, server, device) => {
      expect(selectAddresses(addressesOf(structuredClone(server)), device).addresses).toEqual(
        chosen,
      );
    });
  });
});
