/** What every way of dialling owes the SDK; over loopback. */
import { afterEach, describe, expect, test } from "bun:test";

import { type Address, encodeFrames, LIMITS, readFrames } from "@beckon/protocol";

import { toAddress } from "./route.ts";
import type { Dial, Transport } from "./transport.ts";

/** A server's end. */
export interface ServedConnection {
  write(bytes: Uint8Array): void;
  heard(): Uint8Array;
  end(): void;
  reset(): void;
  readonly isClosed: () => boolean;
}

export interface Served {
  readonly url: string;
  readonly connections: readonly ServedConnection[];
  stop(): void;
}

const auth = (token: string): Uint8Array => encodeFrames([{ type: "auth", token }]);

export async function until(holds: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 5_000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`waited 5 s for ${what}`);
    await Bun.sleep(5);
  }
}

export function describeTransport(name: string, dial: Dial, serve: () => Promise<Served>): void {
  const served: Served[] = [];
  const transports: Transport[] = [];
  afterEach(() => {
    for (const transport of transports.splice(0)) transport.close();
    for (const server of served.splice(0)) server.stop();
  });

  async function start(): Promise<Served> {
    const server = await serve();
    served.push(server);
    return server;
  }

  /** What was told, in order. */
  function to(address: Address) {
    const told: string[] = [];
    const messages: Uint8Array[] = [];
    const transport = dial(address, {
      opened: () => told.push("opened"),
      message: (bytes) => messages.push(bytes),
      closed: (code) => told.push(`closed ${code}`),
    });
    expect(told).toEqual([]);
    transports.push(transport);
    const tokens = (): string[] =>
      messages.flatMap((bytes) => {
        const found: string[] = [];
        readFrames(bytes, LIMITS, (frame) => {
          if (frame.type === "auth") found.push(frame.token);
        });
        return found;
      });
    return { transport, told, tokens };
  }

  async function connected() {
    const server = await start();
    const device = to(toAddress(server.url)!);
    await until(() => device.told.length > 0 && server.connections.length > 0, "a connection");
    expect(device.told).toEqual(["opened"]);
    return { ...device, server, peer: server.connections[0]! };
  }

  describe(name, () => {
    test("what comes is whole frames, in their order", async () => {
      const { tokens, peer } = await connected();
      const sent = Array.from({ length: 200 }, (_, i) => `${i}`.padEnd(10 * i, "."));
      for (const token of sent) peer.write(auth(token));
      await until(() => tokens().length >= sent.length, "all frames");
      expect(tokens()).toEqual(sent);
    });

    test("what is sent is copied, and comes in its order", async () => {
      const { transport, peer } = await connected();
      const bytes = auth("0").slice();
      const expected: number[] = [];
      for (let i = 0; i < 100; i++) {
        bytes[bytes.length - 1] = 48 + (i % 10);
        expected.push(...bytes);
        transport.send(bytes);
      }
      await until(() => peer.heard().length >= expected.length, "all bytes");
      expect([...peer.heard()]).toEqual(expected);
      expect(transport.buffered()).toBe(0);
    });

    test("its end comes after what was sent; then nothing is sent any more", async () => {
      const { transport, told, peer } = await connected();
      const large = auth("x".repeat(500_000));
      transport.send(large);
      transport.close();
      transport.close();
      transport.send(auth("late"));
      await until(() => peer.isClosed() && told.length > 1, "the end");
      expect(peer.heard().length).toBe(large.length);
      expect(told).toHaveLength(2);
      transport.send(auth("late"));
    });

    test.each(["end", "reset"] as const)("the server's %s is told once", async (how) => {
      const { transport, told, peer } = await connected();
      peer[how]();
      await until(() => told.length > 1, "the end");
      transport.close();
      transport.send(auth("late"));
      await Bun.sleep(20);
      expect(told).toEqual(["opened", expect.stringMatching(/^closed 1\d\d\d$/)]);
    });

    test("where nobody listens, that is told; once", async () => {
      const server = await start();
      const address = toAddress(server.url)!;
      server.stop();
      const { told, transport } = to(address);
      await until(() => told.length > 0, "the end");
      transport.close();
      await Bun.sleep(20);
      expect(told).toEqual(["closed 1006"]);
    });

    test("what is no address is one that cannot be reached", async () => {
      const address = toAddress(`${(await start()).url.split(":")[0]}://[`)!;
      const { told } = to(address);
      await until(() => told.length > 0, "the end");
      expect(told).toEqual(["closed 1006"]);
    });

    test("one that is given up before it opens never does", async () => {
      const { told, transport } = to(toAddress((await start()).url)!);
      transport.close();
      await until(() => told.length > 0, "the end");
      expect(told).toEqual([expect.stringMatching(/^closed/)]);
    });
  });
}
