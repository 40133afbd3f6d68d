/** L9, M8, M12 over real sockets: the same as packages/client/src/reach.test.ts, where addresses are dead as they are in the world. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createServer, type Server as TcpServer, type Socket } from "node:net";

import { type Address, connect } from "@beckon/client";
import { memory } from "@beckon/client/storage";
import { encodeBase64Url, encodeHint, encodeWake } from "@beckon/protocol";
import * as fc from "fast-check";

import { sealWithNodeCrypto } from "../packages/server/src/push/seal.ts";
import { startSystem, type System } from "./support/system.ts";
import { until } from "./support/until.ts";

const KEY = { id: 7, key: new Uint8Array(32).fill(7) };
const REGISTERED = { provider: "dev", token: "phone-1" };
/** Three that do not answer and one that lives, staggered by 250 ms, or 1.5 s where a wake leads; the rest is for a busy machine. */
const BOUND_MS = 8_000;

/** What is at an address that is no server's. */
const DEAD: Readonly<Record<string, (socket: Socket) => void>> = {
  silent: () => {},
  closes: (socket) => void socket.destroy(),
  "another web server": (socket) => void socket.end("HTTP/1.1 404 Not Found\r\n\r\n"),
  garbage: (socket) => void socket.end("\0".repeat(100)),
};
const KINDS = ["refuses", ...Object.keys(DEAD)];

let system: System;
const listeners: TcpServer[] = [];
const open = new Set<Socket>();
const urls = new Map<string, string>();

beforeAll(async () => {
  system = await startSystem(2);
  for (const kind of KINDS) {
    const listener = createServer((socket) => {
      open.add(socket);
      socket.on("error", () => {}).on("close", () => void open.delete(socket));
      DEAD[kind]?.(socket);
    });
    await new Promise<void>((resolve) => void listener.listen(0, "127.0.0.1", resolve));
    const { port } = listener.address() as { port: number };
    urls.set(kind, `ws://127.0.0.1:${port}`);
    // Its port is nobody's from then on.
    if (kind === "refuses") await new Promise((resolve) => listener.close(resolve));
    else listeners.push(listener);
  }
}, 30_000);

afterAll(async () => {
  await system?.stop();
  for (const socket of open) socket.destroy();
  for (const listener of listeners) listener.close();
});

const addressOf = (url: string): Address => {
  return { url, protocol: "ws", secure: false, network: "", region: "", priority: 0 };
};

const deadArb = fc.array(fc.constantFrom(...KINDS), { maxLength: 3 });

const worldArb = fc.record({
  before: deadArb,
  after: deadArb,
  /** Dead ones of the wake's server; undefined: no wake. */
  wake: fc.option(deadArb, { nil: undefined }),
  address: fc.constantFrom("first" as const, "last" as const, "random" as const),
});

let devices = 0;

test("L9, M8, M12: a device gets in between real dead addresses, and where the wake leads", async () => {
  const [s1, s2] = system.servers.map(({ url }) => url) as [string, string];
  const token = await system.token("ann");
  const property = fc.asyncProperty(worldArb, async ({ before, after, wake, address }) => {
    const device = `phone-${++devices}`;
    const dead = (kinds: readonly string[]): string[] => kinds.map((kind) => urls.get(kind)!);
    const storage = memory();
    const keys = [{ ...KEY, ...REGISTERED, made: Date.now(), registered: true }];
    await storage.write([{ key: "w/keys", value: keys }]);
    const beckon = connect({
      servers: [...dead(before), s1, ...dead(after)],
      token: () => token,
      device,
      storage,
      push: REGISTERED,
      prefer: { address },
    });
    if (wake !== undefined) {
      const hint = encodeHint({
        server: { name: "s2", addresses: [...dead(wake), s2].map(addressOf) },
        conversation: "bob",
        activity: 1,
        wake: "message",
        expires: Date.now() + 60_000,
        preview: "",
        call: new Uint8Array(),
        ended: false,
      });
      const sealed = encodeWake(await sealWithNodeCrypto(KEY, device, hint));
      void beckon.onWake({ beckon: encodeBase64Url(sealed) });
    }
    try {
      await until(() => beckon.state.name === "connected", "it to be connected", BOUND_MS);
      expect(beckon.state.server).toBe(wake === undefined ? "s1" : "s2");
    } finally {
      await beckon.close();
    }
  });
  await fc.assert(property, { numRuns: 15, endOnFailure: true });
}, 120_000);
