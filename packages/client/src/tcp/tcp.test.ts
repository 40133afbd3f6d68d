import { expect, test } from "bun:test";
import { createServer, type AddressInfo, type Socket } from "node:net";

import { encodeFrames } from "@beckon/protocol";

import { toAddress } from "../route.ts";
import {
  describeTransport,
  type Served,
  type ServedConnection,
  until,
} from "../transport.suite.ts";
import { tcp } from "./tcp.ts";

/** `sockets`: as Node has them. */
async function serve(): Promise<Served & { readonly sockets: readonly Socket[] }> {
  const connections: ServedConnection[] = [];
  const sockets: Socket[] = [];
  const server = createServer({ noDelay: true }, (socket) => {
    const chunks: Buffer[] = [];
    let isClosed = false;
    sockets.push(socket);
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    socket.on("error", () => {});
    socket.once("close", () => (isClosed = true));
    connections.push({
      write: (bytes) => void socket.write(Uint8Array.from(bytes)),
      heard: () => Buffer.concat(chunks),
      end: () => void socket.end(),
      reset: () => void socket.resetAndDestroy(),
      isClosed: () => isClosed,
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections,
    sockets,
    stop() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

describeTransport("tcp", tcp(), serve);

test("[P-1.4] frames are put together again wherever the stream is torn", async () => {
  const server = await serve();
  const messages: Uint8Array[] = [];
  let isOpen = false;
  const transport = tcp()(toAddress(server.url)!, {
    opened: () => (isOpen = true),
    message: (bytes) => messages.push(bytes),
    closed: () => {},
  });
  await until(() => isOpen && server.connections.length === 1, "the connection");
  const stream = encodeFrames([
    { type: "ping" },
    { type: "auth", token: "t".repeat(300) },
    { type: "bye" },
  ]);
  for (let at = 0; at < stream.length; at += 7) {
    server.connections[0]!.write(stream.subarray(at, at + 7));
    await Bun.sleep(1);
  }
  await until(() => messages.reduce((sum, { length }) => sum + length, 0) === stream.length, "all");
  expect(Buffer.concat(messages)).toEqual(Buffer.from(stream));
  transport.close();
  server.stop();
});

test("what is no frame ends it", async () => {
  const server = await serve();
  const told: string[] = [];
  const transport = tcp()(toAddress(server.url)!, {
    opened: () => told.push("opened"),
    message: () => told.push("message"),
    closed: (code, reason) => told.push(`closed ${code} ${reason}`),
  });
  await until(() => told.length === 1 && server.connections.length === 1, "the connection");
  server.connections[0]!.write(new Uint8Array(1_000).fill(0xff));
  await until(() => told.length === 2, "the end");
  expect(told[1]).toStartWith("closed 1006 varint over 10 bytes");
  await until(() => server.connections[0]!.isClosed(), "the server's end");
  transport.close();
  server.stop();
});

test.each(["tcp://127.0.0.1", "tls://", "tcp://:0"])(
  "%s has no port to connect to",
  async (url) => {
    const told: string[] = [];
    tcp()(
      { ...toAddress("tcp://a")!, url },
      {
        opened: () => told.push("opened"),
        message: () => {},
        closed: (code) => told.push(`closed ${code}`),
      },
    );
    expect(told).toEqual([]);
    await until(() => told.length > 0, "the end");
    expect(told).toEqual(["closed 1006"]);
  },
);
