import { encodeOrigin, validDeviceId } from "@beckon/protocol";
import type {
  ConnectionErrorCode,
  HelloFrame,
  PushRegistration,
  RedirectFrame,
  WelcomeFrame,
} from "@beckon/protocol";

import type { Origin } from "../delivery/message.ts";
import type { DeliverSink } from "../delivery/recipient.ts";
import type { ArrivalResult } from "../store/store.ts";
import type { Placement } from "../placement/placement.ts";
import type { Connection, Session } from "./connection.ts";
import type { GatewayParts } from "./gateway.ts";
import { BadToken } from "./identity.ts";
import type { Identity } from "./identity.ts";

/** After the end of a connection: within it what it had been sent is marked in the store. */
const MARKING_MS = 1_000;

export interface Refused {
  readonly refused: ConnectionErrorCode;
  readonly why?: string;
}

export interface Redirected {
  readonly redirect: RedirectFrame;
}

export interface Welcomed {
  readonly session: Session;
  readonly welcome: WelcomeFrame;
}

/**
 * HELLO, step by step: form, token or ticket, the device, its place (M13), room; then the store learns of the device, the session
 * table of the connection (M2). `wanted` says whether the connection is still there after each wait.
 */
export async function shakeHands(
  parts: GatewayParts,
  connection: Connection & DeliverSink,
  hello: HelloFrame,
  wanted: () => boolean,
): Promise<Welcomed | Redirected | Refused> {
  const fault = faultOf(hello, parts);
  if (fault !== undefined) return fault;
  const mayRedirect = parts.placement !== undefined && !hello.noRedirect;
  const noRoom = crowded(parts);
  if (noRoom !== undefined && !mayRedirect) return noRoom;
  const identity = await identify(parts, hello);
  if ("refused" in identity) return identity;
  if (identity.device !== undefined && identity.device !== hello.device) {
    return { refused: "device-forbidden" };
  }
  const { user } = identity;
  if (parts.placement !== undefined) {
    const elsewhere = await place(parts.placement, user, hello);
    if (!wanted()) return { refused: "stopping" };
    if (elsewhere !== undefined) return elsewhere;
    if (noRoom !== undefined) return noRoom;
  }
  const before = parts.table.find(user, hello.device);
  const known = before?.epoch ?? 0;
  const epoch = parts.table.nextEpoch(user, hello.device, hello.epoch);
  let arrival: ArrivalResult;
  try {
    arrival = await parts.store.devices.arrive({
      user,
      device: hello.device,
      durable: hello.durable || hello.push !== undefined,
      protocols: hello.protocols,
      ...(hello.push === undefined ? {} : { push: hello.push }),
      lastEpoch: hello.epoch,
      epoch,
    });
  } catch {
    return { refused: "unavailable" };
  }
  if (!wanted()) return { refused: "stopping" };
  // Another connection of the device has come meanwhile. Here its HELLO came later, and somebody is at its end. Of one elsewhere nobody
  // can tell: if the device is at the end of this one, its next HELLO follows the other; if not, the other must not be closed.
  const other = parts.table.find(user, hello.device);
  if (other !== undefined && other.epoch > Math.max(known, hello.epoch)) {
    if (other.server !== parts.server) return { refused: "unavailable" };
    if (other.epoch > epoch) return { refused: "replaced" };
  }
  if (arrival.wake !== undefined) parts.onWoken(arrival.wake, hello.hinted);
  if (before !== undefined && wasMoved(hello, before, parts.server)) {
    parts.mover?.arrived(user, hello.device, before.server);
  }
  return { ...enter(parts, connection, hello, identity, arrival, epoch) };
}

/** [P-8.4] Whether the device was asked to come here: it is still connected elsewhere, and knows of that. */
function wasMoved(
  { noRedirect, hinted, epoch }: HelloFrame,
  before: { readonly server: string; readonly epoch: number },
  server: string,
): boolean {
  return noRedirect && hinted === server && before.server !== server && before.epoch === epoch;
}

function faultOf(hello: HelloFrame, parts: GatewayParts): Refused | undefined {
  if (!validDeviceId(hello.device)) return { refused: "bad-hello", why: "device: not a device id" };
  const fault = hello.push && pushFaultOf(hello.push, parts);
  if (fault !== undefined) return { refused: "bad-hello", why: fault };
  return undefined;
}

function crowded(parts: GatewayParts): Refused | undefined {
  if (parts.state() !== "up") return { refused: "draining" };
  if (parts.full()) return { refused: "full" };
  return undefined;
}

/** [P-8.3] Undefined: here, for all that this server knows. */
async function place(
  placement: Placement,
  user: string,
  { device, hinted, intent, noRedirect, protocols }: HelloFrame,
): Promise<Redirected | undefined> {
  if (noRedirect) {
    placement.returned(user, device);
    return undefined;
  }
  const sent = await placement.arrive({ user, device, hinted, intent, protocols });
  return sent && { redirect: { type: "redirect", server: sent.server, reason: sent.why } };
}

/** [P-4.3] What is wrong with a push registration, in words without any of its values. */
export function pushFaultOf(
  push: PushRegistration,
  parts: Pick<GatewayParts, "pushFault">,
): string | undefined {
  if (push.provider === "" || push.token === "" || push.key.key.length !== 32) {
    return "push: provider, token and a key of 32 bytes are needed";
  }
  const fault = parts.pushFault(push);
  return fault && `push: ${fault}`;
}

/** A ticket that is not good is passed over when there is a token. */
async function identify(parts: GatewayParts, hello: HelloFrame): Promise<Identity | Refused> {
  try {
    if (hello.ticket.length > 0) {
      try {
        return parts.tickets.check(hello.ticket, hello.device, parts.clock.now());
      } catch (error) {
        if (hello.token === "") throw error;
      }
    }
    return await parts.authenticate(hello.token);
  } catch (error) {
    if (error instanceof BadToken) return { refused: error.code, why: error.message };
    return { refused: "unavailable", why: "the token could not be checked" };
  }
}

/** From here on the device is connected to the system. Nothing waits. */
function enter(
  parts: GatewayParts,
  connection: Connection & DeliverSink,
  hello: HelloFrame,
  identity: Identity,
  arrival: ArrivalResult,
  epoch: number,
): Welcomed {
  const { table, delivery, limits, clock } = parts;
  const { user } = identity;
  const { device } = hello;
  const durable = hello.durable || hello.push !== undefined;
  const { setVersion, setSize } = arrival;
  const origin: Origin = {
    key: `${user}\n${device}`,
    user,
    device,
    outbox: hello.outbox,
    encoded: encodeOrigin(user, device, hello.outbox, parts.server),
    copies: !hello.noCopies,
  };
  const recipient = delivery.connect(connection, {
    user,
    device,
    epoch,
    durable,
    window: limits.inFlight,
    generation: arrival.generation,
    behind: durable || setSize === 0,
    mayHaveRows: table.wasConnectedWithin(user, device, MARKING_MS),
  });
  const known = table.lookup(user).some((session) => session.setVersion >= setVersion);
  table.open({
    user,
    device,
    epoch,
    durable,
    background: hello.background,
    setVersion,
    setSize,
  });
  // A device that is new, or that others do not know of yet: its departure must not hide that it exists.
  if (durable && (hello.epoch === 0 || !known)) table.announceSet(user, setVersion, setSize);
  return {
    session: { identity, device, epoch, protocols: hello.protocols, recipient, origin },
    welcome: {
      type: "welcome",
      connection: parts.connectionId(),
      server: parts.server,
      user,
      epoch,
      ticket: parts.tickets.issue(identity, device),
      time: clock.now(),
      heartbeat: limits.heartbeat,
      limits,
      servers: parts.servers(),
      held: arrival.held,
      recovered: arrival.recovered,
      capabilities: 0,
    },
  };
}
