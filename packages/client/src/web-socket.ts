import { SUBPROTOCOL } from "@beckon/protocol";

import type { Clock } from "./clock.ts";
import type { WebSocketConstructor, WebSocketLike } from "./options.ts";
import type { Dial, Transport, TransportHandler } from "./transport.ts";

/** Told where the WebSocket could not even be made, as when the URL is none. */
const ABNORMAL = 1006;
/** `readyState` of a WebSocket. */
const OPEN = 1;

/** The protocol "ws": one message of the transport is one binary message of a WebSocket. */
export function webSocketDial(WebSocket: WebSocketConstructor, clock: Clock): Dial {
  return ({ url }, handler) => {
    let socket;
    try {
      socket = new WebSocket(url, [SUBPROTOCOL]);
    } catch (error) {
      clock.defer(() => handler.closed(ABNORMAL, String(error)));
      return { send: () => {}, buffered: () => 0, close: () => {} };
    }
    return listen(socket, handler);
  };
}

function listen(socket: WebSocketLike, handler: TransportHandler): Transport {
  /* oxlint-disable unicorn/prefer-add-event-listener -- its types differ between the DOM and the package ws */
  socket.binaryType = "arraybuffer";
  socket.onopen = () => handler.opened();
  socket.onmessage = ({ data }: { readonly data: unknown }) => {
    // Text is no frame.
    if (typeof data !== "string") handler.message(new Uint8Array(data as ArrayBuffer));
  };
  // A close always follows.
  socket.onerror = () => {};
  socket.onclose = ({ code, reason }: Closed) => handler.closed(code, reason);
  /* oxlint-enable unicorn/prefer-add-event-listener */
  return {
    send(message) {
      if (socket.readyState === OPEN) socket.send(message as Uint8Array<ArrayBuffer>);
    },
    buffered: () => socket.bufferedAmount,
    close: () => socket.close(),
  };
}

interface Closed {
  readonly code: number;
  readonly reason: string;
}
