/**
 * The floor: the least that a relay on `Bun.serve` does to pass a message on and its
 * acknowledgement back. No authentication, no check, no memory of what is in flight, one send for
 * each message. Sent here: the number of the connection it is for, 4 bytes, and the rest as it
 * likes. Passed on: the same with the number of the connection it came from.
 *
 * An acknowledged message costs two such passages, as with Beckon: A's message to B, and B's
 * acknowledgement to A.
 *
 * Two of them: `floor.ts link` waits for `floor.ts PORT`, and each gives the other what is for a connection that it does not have.
 */
import type { ServerWebSocket, Socket } from "bun";

import { standBy } from "./stand-by.ts";

/** Of what goes to the other floor: bytes that follow, and the connection that it is for. */
const HEAD = 8;

const connections: (ServerWebSocket<number> | undefined)[] = [];
/** To another floor, for connections that are not here. */
let link: Socket | undefined;
let received: Buffer = Buffer.alloc(0);

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
      const number = message.readUInt32LE(0);
      message.writeUInt32LE(socket.data, 0);
      const to = connections[number];
      if (to !== undefined) to.sendBinary(message);
      else if (link !== undefined) pass(link, number, message);
    },
    close(socket) {
      connections[socket.data] = undefined;
    },
  },
});

function pass(to: Socket, number: number, message: Buffer): void {
  const bytes = Buffer.alloc(HEAD + message.length);
  bytes.writeUInt32LE(message.length, 0);
  bytes.writeUInt32LE(number, 4);
  message.copy(bytes, HEAD);
  // What a socket does not take would have to be kept: so few bytes are under way that it takes all.
  if (to.write(bytes) !== bytes.length) throw new Error("the link is full");
}

const linked = {
  open(socket: Socket): void {
    socket.setNoDelay(true);
    link = socket;
  },
  data(_: Socket, chunk: Buffer): void {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
    let at = 0;
    while (received.length - at >= HEAD) {
      const end = at + HEAD + received.readUInt32LE(at);
      if (end > received.length) break;
      connections[received.readUInt32LE(at + 4)]?.sendBinary(received.subarray(at + HEAD, end));
      at = end;
    }
    received = received.subarray(at);
  },
};

const port = server.port ?? 0;
const [how] = process.argv.slice(2);
if (how === "link") {
  const { port: at } = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: linked });
  standBy({ port, link: at });
} else {
  if (how !== undefined) {
    await Bun.connect({ hostname: "127.0.0.1", port: Number(how), socket: linked });
  }
  standBy({ port });
}
