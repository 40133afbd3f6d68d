import { SUBPROTOCOL } from "@beckon/protocol";

import type { Clock } from "./clock.ts";
import type { WebSocketConstructor } from "./options.ts";
import type { Dial } from "./transport.ts";

/** Told where the WebSocket could not even be made, as when the URL is none. */
const ABNORMAL = 1006;

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
    const opened = socket;
    opened.binaryType = "arraybuffer";
    opened.addEventListener("open", () => handler.opened());
    opened.addEventListener("message", ({ data }: { readonly data: unknown }) => {
      // Text is no frame.
      if (typeof data !== "string") handler.message(new Uint8Array(data as ArrayBuffer));
    });
    // A close always follows.
    opened.addEventListener("error", () => {});
    opened.addEventListener("close", ({ code, reason }: Closed) => handler.closed(code, reason));
    return {
      send: (message) => {
        if (opened.readyState === 1) opened.send(message as Uint8Array<ArrayBuffer>);
      },
      buffered: () => opened.bufferedAmount,
      close: () => opened.close(),
    };
  };
}

interface Closed {
  readonly code: number;
  readonly reason: string;
}
