/** [P-4.13] over real sockets: what a device asks by HTTP where it would connect. */
import { afterEach, describe, expect, test } from "bun:test";
import { connect } from "node:net";

import { registrationBody, serve, until } from "./test-support/served.ts";
import type { Served } from "./test-support/served.ts";

const running: Served[] = [];
afterEach(() => running.splice(0).forEach((one) => one.close()));

function begin(fault?: (token: string) => string | undefined): Served {
  const one = serve(fault);
  running.push(one);
  return one;
}

const errorOf = async (response: Response) =>
  ((await response.json()) as { error: { code: string; message: string; hint: string } }).error;

const devicesOf = async ({ store }: Served, user: string) =>
  (await store.devices.devices(user)).devices;

describe("PUT /v1/push", () => {
  test("M7: a device that never connected is woken, by what it registered", async () => {
    const one = begin();
    const body = { ...registrationBody("phone", "bob's"), protocols: ["tcp", "ws"] };
    const answer = await one.ask("PUT", body);
    expect([answer.status, await answer.text()]).toEqual([204, ""]);
    expect(await devicesOf(one, "bob")).toMatchObject([
      { device: "phone", protocols: ["tcp", "ws"], push: { provider: "dev", token: "bob's" } },
    ]);
    const ann = await one.device("ann");
    expect(await ann.send("bob")).toMatchObject({ status: "held" });
    await until(() => one.pushed.length > 0);
    expect(one.pushed).toEqual(["bob's"]);
  });

  test("a connected device's server knows of the set at once, and what is the same again writes nothing", async () => {
    const one = begin();
    await one.ask("PUT", registrationBody("phone", "bob's"));
    const laptop = await one.device("bob", { device: "laptop", durable: false });
    await one.ask("PUT", { ...registrationBody("tablet", "bob's tablet"), device: "tablet" });
    await one.ask("PUT", registrationBody("tablet", "bob's tablet"));
    expect(one.server.node.table.find("bob", "laptop")).toMatchObject({ setSize: 2 });
    expect(await one.store.devices.sets(["bob"])).toMatchObject([{ setVersion: 2, setSize: 2 }]);
    await laptop.leave();
  });

  test("behind a path, where a proxy has put the servers", async () => {
    const one = begin();
    const path = "/chat/eu/v1/push?x=1";
    expect((await one.ask("PUT", registrationBody("phone", "t"), { path })).status).toBe(204);
  });

  test("a phone's next user takes its token, whatever the one before has done", async () => {
    const one = begin();
    await one.ask("PUT", registrationBody("phone", "phone"), { as: "bob" });
    await one.ask("PUT", registrationBody("phone", "phone"), { as: "carol" });
    const ann = await one.device("ann");
    await ann.send("bob");
    await ann.send("carol");
    await until(() => one.pushed.length > 0);
    expect(await one.store.wakes.claim("test", 1_000, 10)).toEqual([]);
    expect(one.pushed).toEqual(["phone"]);
    expect((await devicesOf(one, "bob")).map((device) => "push" in device)).toEqual([false]);
  });
});

describe("DELETE /v1/push", () => {
  test("ends the pushes, and leaves what is held", async () => {
    const one = begin();
    await one.ask("PUT", registrationBody("phone", "bob's"));
    expect((await one.ask("DELETE", { device: "phone" })).status).toBe(204);
    expect((await one.ask("DELETE", { device: "never there" })).status).toBe(204);
    const ann = await one.device("ann");
    await ann.send("bob");
    expect(await one.store.wakes.nextDue()).toBeUndefined();
    const phone = await one.device("bob");
    expect(await phone.frame("welcome")).toMatchObject({ held: 1 });
    expect(one.pushed).toEqual([]);
  });

  test("with `forget` the device is gone, and a connection of it is closed as revoked", async () => {
    const one = begin();
    const phone = await one.device("bob");
    const gone = await one.ask("DELETE", { device: "phone", forget: true });
    expect(gone.status).toBe(204);
    expect(await devicesOf(one, "bob")).toEqual([]);
    expect(await phone.closed).toBe(4408);
  });
});

describe("refusals", () => {
  const good = registrationBody("phone", "s3cret");
  test.each<[string, number, string, unknown, string]>([
    ["no token", 401, "bad-token", good, ""],
    ["a bad token", 401, "bad-token", good, "B0B"],
    ["a token for another device", 403, "device-forbidden", good, "bob/laptop"],
    ["no JSON", 400, "bad-argument", "{", "bob"],
    ["a list", 400, "bad-argument", "[]", "bob"],
    ["no device", 400, "bad-argument", { ...good, device: undefined }, "bob"],
    ["a device id that is none", 400, "bad-argument", { ...good, device: "a\nb" }, "bob"],
    ["no provider", 400, "bad-argument", { ...good, provider: "" }, "bob"],
    ["no token of the push service", 400, "bad-argument", { ...good, token: 7 }, "bob"],
    [
      "a key of 31 bytes",
      400,
      "bad-argument",
      { ...good, key: { id: 1, key: "A".repeat(42) } },
      "bob",
    ],
    [
      "a key that is not base64",
      400,
      "bad-argument",
      { ...good, key: { id: 1, key: "s3cret!" } },
      "bob",
    ],
    [
      "a key without a number",
      400,
      "bad-argument",
      { ...good, key: { key: "A".repeat(43) } },
      "bob",
    ],
    ["protocols that are none", 400, "bad-argument", { ...good, protocols: ["W S"] }, "bob"],
    ["nine protocols", 400, "bad-argument", { ...good, protocols: "abcdefghi".split("") }, "bob"],
    [
      "what the push service would refuse",
      400,
      "bad-argument",
      { ...good, token: "s3cret bad" },
      "bob",
    ],
    [
      "a body of more than 8 KiB",
      413,
      "message-too-large",
      { ...good, x: "x".repeat(8192) },
      "bob",
    ],
  ])("%s: %d %s, and nothing is kept", async (_, status, code, body, as) => {
    const one = begin((token) => (token.endsWith("bad") ? "it is malformed" : undefined));
    const headers = as === "" ? { authorization: "" } : {};
    const answer = await one.ask("PUT", body, { as, headers });
    expect(answer.status).toBe(status);
    expect(answer.headers.get("access-control-allow-origin")).toBe("*");
    const error = await errorOf(answer);
    expect(error.code).toBe(code);
    expect(error.hint).not.toBe("");
    expect(JSON.stringify(error)).not.toContain("s3cret");
    expect(await devicesOf(one, "bob")).toEqual([]);
  });

  test("what is at the bounds passes", async () => {
    const one = begin();
    const filled = { ...good, x: "" };
    const x = "x".repeat(8192 - JSON.stringify(filled).length);
    expect((await one.ask("PUT", { ...filled, x })).status).toBe(204);
    expect((await one.ask("PUT", good, { as: "bob/phone" })).status).toBe(204);
  });

  test("another method, another path", async () => {
    const one = begin();
    const posted = await one.ask("POST", good);
    expect([posted.status, posted.headers.get("allow")]).toEqual([405, "PUT, DELETE, OPTIONS"]);
    expect((await one.ask("PUT", good, { path: "/v1/pushes" })).status).toBe(426);
    expect((await one.ask("GET", undefined, { path: "/" })).status).toBe(426);
  });

  test("a request that names an empty host, or a strange one, is answered as any other", async () => {
    const one = begin();
    const asked = async (target: string, host: string): Promise<string> => {
      const { hostname, port } = new URL(one.server.url);
      const { promise, resolve } = Promise.withResolvers<string>();
      const socket = connect(Number(port), hostname, () =>
        socket.write(`PUT ${target} HTTP/1.1\r\n${host}Content-Length: 0\r\n\r\n`),
      );
      socket.on("data", (data) => resolve(data.toString().slice(9, 12)));
      socket.on("close", () => resolve("closed"));
      return promise.finally(() => socket.destroy());
    };
    for (const host of ["Host:\r\n", "Host: [::\r\n"]) {
      expect([host, await asked("/v1/push?x", host)]).toEqual([host, "401"]);
      expect([host, await asked("//[", host)]).toEqual([host, "426"]);
    }
  });

  test("a page of any origin may ask", async () => {
    const one = begin();
    const answer = await one.ask("OPTIONS", undefined, {
      headers: { origin: "https://app.example.com", "access-control-request-method": "PUT" },
    });
    expect(answer.status).toBe(204);
    expect(answer.headers.get("access-control-allow-origin")).toBe("*");
    expect(answer.headers.get("access-control-allow-methods")).toContain("DELETE");
    expect(answer.headers.get("access-control-allow-headers")).toContain("authorization");
  });

  test("L10: an address that asks too often is put off, and devices connect all the same", async () => {
    const one = begin();
    const all = await Promise.all(
      Array.from({ length: 130 }, () => one.ask("DELETE", { device: "phone" })),
    );
    const statuses = all.map(({ status }) => status);
    expect(statuses.filter((status) => status === 204).length).toBeGreaterThanOrEqual(100);
    expect(new Set(statuses)).toEqual(new Set([204, 429]));
    const late = all.find(({ status }) => status === 429)!;
    expect(late.headers.get("retry-after")).toBe("1");
    expect((await errorOf(late)).code).toBe("rate-limited");
    await one.device("bob");
  });

  test("L8: where the store does not answer, it can be tried again", async () => {
    const one = begin();
    one.store.disconnect();
    for (const [method, body] of [
      ["PUT", good],
      ["DELETE", { device: "phone" }],
      ["DELETE", { device: "phone", forget: true }],
    ] as const) {
      const answer = await one.ask(method, body);
      expect(answer.status).toBe(503);
      expect((await errorOf(answer)).code).toBe("unavailable");
    }
    one.store.reconnect();
    expect((await one.ask("PUT", good)).status).toBe(204);
  });

  test("B3: a server that is being emptied sends it elsewhere", async () => {
    const one = begin();
    one.server.node.members.setState("draining");
    const answer = await one.ask("PUT", good);
    expect([answer.status, (await errorOf(answer)).code]).toEqual([503, "draining"]);
  });
});
