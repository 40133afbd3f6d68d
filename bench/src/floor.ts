/**
 * The floor: the least that a relay on `Bun.serve` does to pass a message on and its
 * acknowledgement back. No authentication, no check, no memory of what is in flight, one send for
 * each message. Sent here: the number of the connection it is for, 4 bytes, and the rest as it
 * likes. Passed on: the same with the number of the connection it came from.
 *
 * An acknowledged message costs two such passages, as with Beckon: A's message to B, and B's
 * acknowledgement to A.
 */
import type { ServerWebSocket } from "bun";

import { standBy } from "./stand-by.ts";

const connections: (ServerWebSocket<number> | undefined)[] = [];

const server = Bun.serve<number>({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request, server) {
    const number = Number(new URL(request.url).pathname.slice(1));
    if (server.upgrade(request, { data: number })) return undefined;
    return new Response(undefined, { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    open(socket) {
      connections[socket.data] = socket;
    },
    message(socket, message) {
      if (typeof message === "string") return;
      const to = connections[message.readUInt32LE(0)];
      message.writeUInt32LE(socket.data, 0);
      to?.sendBinary(message);
    },
    close(socket) {
      connections[socket.data] = undefined;
    },
  },
});

standBy(server.port ?? 0);
