import type { Socket } from "bun";

import { expect, test } from "bun:test";

import { WebSocketClient } from "./websocket.ts";

/** Waits for what comes over sockets; bounded by the test's own time. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await Bun.sleep(1);
}

function frame(body: Uint8Array): Buffer {
  const { length } = body;
  const head = length < 126 ? Buffer.alloc(2) : Buffer.alloc(length < 0x10000 ? 4 : 10);
  head[0] = 0x82;
  head[1] = length < 126 ? length : length < 0x10000 ? 126 : 127;
  if (head.length === 4) head.writeUInt16BE(length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, body]);
}

test("messages come whole, however their bytes are cut", async () => {
  const bodies = [3, 125, 126, 70_000].map((length) => new Uint8Array(length).fill(length % 251));
  const answer = Buffer.concat([
    Buffer.from("HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    ...bodies.map(frame),
  ]);
  const dribble = async (socket: Socket): Promise<void> => {
    // Small pieces while they cut heads, then larger ones.
    for (let at = 0; at < answer.length;) {
      const size = at < 400 ? 7 : 20_000;
      socket.write(answer.subarray(at, at + size));
      socket.flush();
      at += size;
      await Bun.sleep(0);
    }
  };
  using server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: { data: (socket) => void dribble(socket) },
  });

  const got: Uint8Array[] = [];
  let turns = 0;
  const client = await WebSocketClient.connect(server.port, "/", {
    message: (bytes, start, end) => got.push(new Uint8Array(bytes.subarray(start, end))),
    turn: () => turns++,
    lost: () => undefined,
  });
  await until(() => got.length === bodies.length);
  client.terminate();
  expect(got).toEqual(bodies);
  expect(turns).toBeGreaterThan(1);
});

test("a real server understands what is sent in one write", async () => {
  const got: number[] = [];
  await using server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request, server) => (server.upgrade(request) ? undefined : new Response()),
    websocket: { message: (_, message) => void got.push(message.length) },
  });
  const client = await WebSocketClient.connect(server.port ?? 0, "/", {
    message: () => undefined,
    turn: () => undefined,
    lost: () => undefined,
  });
  const lengths = [1, 125, 126, 65_535, 65_536];
  for (const length of lengths) client.send(new Uint8Array(length));
  client.flush();
  await until(() => got.length === lengths.length);
  client.terminate();
  expect(got).toEqual(lengths);
});

test("a server that is none says so", async () => {
  await using server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: () => new Response("no", { status: 404 }),
  });
  const connecting = WebSocketClient.connect(server.port ?? 0, "/", {
    message: () => undefined,
    turn: () => undefined,
    lost: () => undefined,
  });
  await expect(connecting).rejects.toThrow("not upgraded: HTTP/1.1 404");
});
