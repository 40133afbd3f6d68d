/** Devices are moved between servers while they write to each other: real servers, with the SDK over WebSocket and TCP. */
import { afterEach, expect, setDefaultTimeout, spyOn, test } from "bun:test";

import { memory } from "@beckon/client/storage";
import { tcp } from "@beckon/client/tcp";
import type { ServerAddresses } from "@beckon/protocol";
import type { Server } from "@beckon/server";

import { Connection } from "../packages/server/src/gateway/connection.ts";
import { startSystem, type System } from "./support/system.ts";
import { expectWhole, talk, Talker } from "./support/talker.ts";
import { until } from "./support/until.ts";

setDefaultTimeout(60_000);

/** Times that each device is moved. */
const MOVES = 12;

const talkers: Talker[] = [];
let system: System | undefined;
afterEach(async () => {
  await Promise.all(talkers.splice(0).map(({ beckon }) => beckon.close()));
  await system?.stop();
  system = undefined;
});

function addressesOf({ name, urls }: Server): ServerAddresses {
  const addresses = urls.map((url) => {
    const protocol = url.startsWith("tcp") ? "tcp" : "ws";
    return { url, protocol, secure: false, network: "", region: "", priority: 0 };
  });
  return { name, addresses };
}

/** All connections that a server accepts from now on. */
function connectionsOf({ node }: Server): Connection[] {
  const all: Connection[] = [];
  const accept = node.gateway.accept.bind(node.gateway);
  spyOn(node.gateway, "accept").mockImplementation((socket) => {
    const handler = accept(socket);
    if (handler instanceof Connection) all.push(handler);
    return handler;
  });
  return all;
}

test("B2: nothing is lost, repeated or out of order while devices move, over ws and tcp, with and without a storage (L1, L2, L3) [P-8.4]", async () => {
  system = await startSystem(3, { tcp: [{ hostname: "127.0.0.1", port: 0 }] });
  const { servers } = system;
  const connections = servers.map(connectionsOf);
  for (let at = 0; at < 8; at++) {
    const token = await system.token(`user-${at}`);
    const { urls } = servers[at % servers.length]!;
    talkers.push(
      new Talker(`user-${at}`, `user-${at ^ 1}`, {
        servers: urls,
        token: () => token,
        device: "phone",
        durable: true,
        transports: { tcp: tcp() },
        prefer: { protocols: at < 4 ? ["ws", "tcp"] : ["tcp", "ws"] },
        ...(at % 4 < 2 ? {} : { storage: memory() }),
      }),
    );
  }
  await talk(talkers);
  for (let round = 1; round <= MOVES; round++) {
    const heard = talkers.map(({ got }) => got.length);
    for (const [at, all] of connections.entries()) {
      const next = addressesOf(servers[(at + 1 + (round % 2)) % servers.length]!);
      for (const connection of all) if (connection.open) connection.move(next, "test");
    }
    const hasMoved = ({ places }: Talker): boolean => places.length > round;
    await until(() => talkers.every(hasMoved), `all to have moved ${round} times`);
    await until(() => talkers.every(({ got }, at) => got.length > heard[at]!), "all to hear on");
  }
  await expectWhole(talkers);
  for (const { states, beckon } of talkers) {
    expect(states).toEqual(["connecting", ...Array<string>(MOVES + 1).fill("connected")]);
    expect(beckon.state.name).toBe("connected");
  }
  const open = connections.flat().filter((connection) => connection.open);
  expect(open).toHaveLength(talkers.length);
});
