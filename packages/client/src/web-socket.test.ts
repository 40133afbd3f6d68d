/** The SDK over real WebSockets on loopback. */
import { afterEach, expect, test } from "bun:test";

import { encodeFrames, type Frame, LIMITS, readFrames, SUBPROTOCOL } from "@beckon/protocol";
import { WebSocket as WsPackage } from "ws";

import type { Beckon } from "./beckon.ts";
import { connect } from "./client.ts";
import { systemClock } from "./clock.ts";
import type { WebSocketConstructor } from "./options.ts";
import { deliverFrame } from "./test-support/fake-server.ts";
import { describeTransport, type Served, type ServedConnection } from "./transport.suite.ts";
import { webSocketDial } from "./web-socket.ts";

const clients: Beckon[] = [];
const servers: ReturnType<typeof serve>[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
  for (const server of servers.splice(0)) await server.stop(true);
});

/** Welcomes, delivers one message, acknowledges what is sent. */
function serve(): ReturnType<typeof Bun.serve> {
  return Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request, server) =>
      server.upgrade(request, { data: {}, headers: { "Sec-WebSocket-Protocol": SUBPROTOCOL } })
        ? undefined
        : new Response("no", { status: 400 }),
    websocket: {
      message(socket, message) {
        if (typeof message === "string") return;
        readFrames(new Uint8Array(message), LIMITS, (frame) => {
          const answer = answerTo(frame);
          if (answer.length > 0) socket.sendBinary(encodeFrames(answer));
        });
      },
    },
  });
}

function answerTo(frame: { readonly type: string }): Frame[] {
  const at = Date.now();
  if (frame.type === "send") {
    return [{ type: "ack", send: 1, count: 1, status: "delivered", route: "local", at }];
  }
  if (frame.type !== "hello") return [];
  return [
    {
      type: "welcome",
      connection: "c",
      server: "real",
      user: "me",
      epoch: 1,
      ticket: new Uint8Array(0),
      time: at,
      heartbeat: LIMITS.heartbeat,
      limits: LIMITS,
      servers: [],
      held: 0,
      recovered: true,
      capabilities: 0,
    },
    deliverFrame({ n: 1 }),
  ];
}

interface Peer {
  readonly chunks: Uint8Array[];
  isClosed: boolean;
}

function serveRaw(): Promise<Served> {
  const connections: ServedConnection[] = [];
  const server = Bun.serve<Peer>({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request, server) =>
      server.upgrade(request, {
        data: { chunks: [], isClosed: false },
        headers: { "Sec-WebSocket-Protocol": SUBPROTOCOL },
      })
        ? undefined
        : new Response("no", { status: 400 }),
    websocket: {
      open(socket) {
        connections.push({
          write: (bytes) => void socket.sendBinary(bytes),
          heard: () => Buffer.concat(socket.data.chunks),
          end: () => socket.close(1000),
          reset: () => socket.terminate(),
          isClosed: () => socket.data.isClosed,
        });
      },
      message: (socket, message) => void socket.data.chunks.push(Buffer.from(message)),
      close: (socket) => void (socket.data.isClosed = true),
    },
  });
  const stop = (): void => void server.stop(true);
  return Promise.resolve({ url: `ws://127.0.0.1:${server.port}`, connections, stop });
}

const BUILT_IN = WebSocket as unknown as WebSocketConstructor;
describeTransport("ws", webSocketDial(BUILT_IN, systemClock), serveRaw);

test.each([
  ["the global one", undefined],
  ["that of the package ws", WsPackage],
])("with %s", async (_, webSocket) => {
  const server = serve();
  servers.push(server);
  const beckon = connect({
    servers: [`ws://127.0.0.1:${server.port}`],
    token: () => "t",
    ...(webSocket && { webSocket }),
  });
  clients.push(beckon);
  const ack = await beckon.send("bob", "hello");
  expect(ack).toMatchObject({ status: "delivered", server: "real" });
  for await (const message of beckon.messages()) {
    expect(message.text()).toBe("ann 1");
    break;
  }
});

test("a URL that no WebSocket takes is one more address that fails", async () => {
  const server = serve();
  servers.push(server);
  const beckon = connect({
    servers: ["ws://[", `ws://127.0.0.1:${server.port}`],
    token: async () => "t",
  });
  clients.push(beckon);
  expect(await beckon.send("bob", "hello")).toMatchObject({ server: "real" });
});
