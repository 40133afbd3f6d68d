import type { Address, Millis, ProtocolLimits } from "@beckon/protocol";

import type { Bus } from "./cluster/bus.ts";
import type { Authorize } from "./delivery/authorize.ts";
import type { Authenticate } from "./gateway/identity.ts";
import { listenWs } from "./gateway/listen-ws.ts";
import type { Listener } from "./gateway/listen-ws.ts";
import { createTickets } from "./gateway/ticket.ts";
import { systemClock } from "./lib/clock.ts";
import type { Clock } from "./lib/clock.ts";
import { createNode } from "./node.ts";
import type { Node, StopOptions } from "./node.ts";
import { composeWake } from "./push/compose.ts";
import type { PushProvider } from "./push/provider.ts";
import { sealWithWebCrypto } from "./push/seal.ts";
import type { Store } from "./store/store.ts";

const MAX_BUFFERED_BYTES = 32 * 1024 * 1024;

/** What a server is made from, when its parts are at hand. */
export interface ServerParts {
  readonly name: string;
  readonly listen: { readonly hostname: string; readonly port: number };
  /** How devices reach it. Default: where it listens. */
  readonly addresses?: readonly Address[];
  readonly bus: Bus;
  readonly store: Store;
  readonly authenticate: Authenticate;
  readonly authorize: Authorize;
  /** 32 bytes, the same on every server: for tickets. */
  readonly clusterKey: Uint8Array;
  readonly providers: readonly PushProvider[];
  readonly limits?: Partial<ProtocolLimits>;
  readonly maxConnections?: number;
  readonly retentionMs?: Millis;
  readonly wakeNames?: (accepting: string) => string;
}

/** One running communication server. */
export interface Server {
  readonly name: string;
  /** Where devices connect. */
  readonly url: string;
  readonly node: Node;
  /** Graceful: nothing that was acknowledged is lost, and what is under way is finished or held. */
  stop(options?: StopOptions): Promise<void>;
  /** As if the process had been killed: sockets are reset, and nobody hears a last word. The bus handle is the caller's to kill. */
  kill(): void;
}

/** Listens, and joins the others on the bus. */
export function startServer(parts: ServerParts): Server {
  const { clock, kill: stopClock } = mortal(systemClock);
  const listener: Listener = listenWs({
    accept: (socket) => node.gateway.accept(socket),
    hostname: parts.listen.hostname,
    port: parts.listen.port,
    maxMessageBytes: parts.limits?.messageBytes ?? 1024 * 1024,
    maxBufferedBytes: MAX_BUFFERED_BYTES,
  });
  const { listen: _, clusterKey, ...rest } = parts;
  const node: Node = createNode({
    ...rest,
    clock,
    random: (bytes) => void crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
    tickets: createTickets(clusterKey),
    addresses: parts.addresses ?? [addressOf(listener.url)],
    compose: (intent, server) => composeWake(intent, server, sealWithWebCrypto),
  });
  node.start();
  return {
    name: parts.name,
    url: listener.url,
    node,
    async stop(options) {
      listener.close();
      await node.stop(options);
      listener.kill();
      stopClock();
    },
    kill() {
      stopClock();
      listener.kill();
    },
  };
}

function addressOf(url: string): Address {
  const secure = url.startsWith("wss:");
  return { url, protocol: "ws", secure, network: "", region: "", priority: 0 };
}

/** A clock whose tasks can be stopped for good, as those of a process that has died. */
function mortal(clock: Clock): { clock: Clock; kill: () => void } {
  let isDead = false;
  const alive = (task: () => void) => (): void => {
    if (!isDead) task();
  };
  return {
    clock: {
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
      after: (ms, task) => clock.after(ms, alive(task)),
      defer: (task) => clock.defer(alive(task)),
    },
    kill() {
      isDead = true;
    },
  };
}
