/** The options, checked and completed. */
import { type Address, validDeviceId } from "@beckon/protocol";

import { type Clock, systemClock } from "./clock.ts";
import { webCrypto } from "./crypto.ts";
import { BeckonError } from "./errors.ts";
import type { ConnectOptions, Preferences, SealCrypto, WebSocketConstructor } from "./options.ts";
import { type Random, secureRandom, weakRandom } from "./random.ts";
import { toAddress } from "./route.ts";
import type { Dial } from "./transport.ts";
import { webSocketDial } from "./web-socket.ts";

export interface Settings {
  readonly seeds: readonly Address[];
  readonly transports: Readonly<Record<string, Dial>>;
  readonly prefer: Preferences;
  readonly clock: Clock;
  readonly random: Random;
  readonly crypto: SealCrypto;
  readonly durable: boolean;
  readonly outboxLimit: number;
}

/** Messages that may wait to be acknowledged. */
const OUTBOX = 1_000;

/** @throws {BeckonError} for what can never work. */
export function settle(options: ConnectOptions): Settings {
  const { servers, device, push, storage, clock = systemClock } = options;
  if (device !== undefined && !validDeviceId(device))
    throw new BeckonError("bad-argument", "device");
  if (typeof options.token !== "function") throw new BeckonError("bad-argument", "token");
  const random = options.random ?? secureRandom();
  if (push?.key !== undefined && push.key.key.length !== 32) {
    throw new BeckonError("bad-argument", "push.key");
  }
  if (push !== undefined && push.key === undefined && random === undefined) {
    throw new BeckonError("unsupported-runtime", "random, for the wake key");
  }
  const transports = { ...webSockets(options, clock), ...options.transports };
  const seeds = servers.map((server) => {
    const address = typeof server === "string" ? toAddress(server) : server;
    if (address === undefined)
      throw new BeckonError("bad-argument", `servers: ${JSON.stringify(server)}`);
    return address;
  });
  if (seeds.length === 0) throw new BeckonError("bad-argument", "servers: none");
  if (!seeds.some(({ protocol }) => protocol in transports)) {
    throw new BeckonError("unsupported-runtime", "webSocket");
  }
  return {
    seeds,
    transports,
    clock,
    random: random ?? weakRandom,
    prefer: options.prefer ?? {},
    crypto: options.crypto ?? webCrypto,
    durable: push !== undefined || (options.durable ?? storage !== undefined),
    outboxLimit: options.outboxLimit ?? OUTBOX,
  };
}

function webSockets(options: ConnectOptions, clock: Clock): Readonly<Record<string, Dial>> {
  const { WebSocket } = globalThis as { readonly WebSocket?: WebSocketConstructor };
  const constructor = options.webSocket ?? WebSocket;
  return constructor === undefined ? {} : { ws: webSocketDial(constructor, clock) };
}
