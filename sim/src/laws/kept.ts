/** L1: no ACK before the message is safe; and so nothing that was acknowledged is lost. */
import type { DeviceFacts, Facts, MessageFacts } from "../facts.ts";
import type { Violation } from "../violation.ts";

/** A new device is owed what is accepted from one lease after its WELCOME on, at the latest. */
const LEASE_MS = 5_000;
/** When servers read the sets of their users again in any case. */
const REREAD_MS = 5 * 60_000;

export function checkKept(facts: Facts): Violation[] {
  const violations: Violation[] = [];
  for (const message of facts.messages.values()) {
    if (message.acks.length === 0) continue;
    const { acks } = message;
    for (const ack of acks) {
      const why =
        ack.status === "delivered"
          ? notDelivered(facts, message, ack.at)
          : notHeld(facts, message, ack.at);
      if (why !== undefined) {
        const says = `${message.name} was acknowledged as ${ack.status} ${why.says}`;
        violations.push(violation("early ack", message, ack.at, why.devices, says));
        break;
      }
    }
    // A repeat of what was acknowledged may have been refused: then its sender knows that it was not sent.
    if (message.denied === undefined) violations.push(...lost(facts, message));
  }
  return violations;
}

interface Reason {
  readonly says: string;
  readonly devices: readonly string[];
}

function notDelivered(facts: Facts, message: MessageFacts, at: number): Reason | undefined {
  for (const device of owedDevices(facts, message, message.sent.to, at)) {
    if (!hasReceived(facts, message, device, at)) {
      return { says: `before ${device.name} had acknowledged it`, devices: [device.name] };
    }
  }
  const devices = facts.devicesOf(message.sent.to);
  if (devices.some((device) => hasReceived(facts, message, device, at))) return undefined;
  return { says: "though no device has acknowledged it", devices: devices.map(({ name }) => name) };
}

function notHeld(facts: Facts, message: MessageFacts, at: number): Reason | undefined {
  const isSafe = (device: DeviceFacts): boolean => {
    const { rows } = facts.passage(message, device.name);
    return hasReceived(facts, message, device, at) || rows.some(({ from }) => from <= at);
  };
  for (const device of owedDevices(facts, message, message.sent.to, at)) {
    if (!isSafe(device)) {
      const says = `before it was committed for ${device.name}`;
      return { says, devices: [device.name] };
    }
  }
  const { heldForUser } = message;
  if (heldForUser !== undefined && heldForUser <= at) return undefined;
  const devices = facts.devicesOf(message.sent.to);
  if (devices.some(isSafe)) return undefined;
  return { says: "before it was committed for anybody", devices: devices.map(({ name }) => name) };
}

function lost(facts: Facts, message: MessageFacts): Violation[] {
  const { to } = message.sent;
  const owed = owedDevices(facts, message, to, facts.end);
  const copies = owedDevices(facts, message, senderOf(message), facts.end).filter(
    ({ name }) => name !== message.sent.device,
  );
  const violations = [...owed, ...copies]
    .filter((device) => isLostFor(facts, message, device))
    .map((device) => {
      const what = device.user === to ? message.name : `the copy of ${message.name}`;
      const says = `${what} was acknowledged and never handed over at ${device.name}`;
      return violation("lost", message, facts.end, [device.name], says);
    });
  if (owed.length === 0 && isLostForUser(facts, message)) {
    const devices = facts.devicesOf(to).map(({ name }) => name);
    const says = `${message.name} was acknowledged and never handed over at any device of ${to}`;
    violations.push(violation("lost", message, facts.end, devices, says));
  }
  return violations;
}

/** Owed to the user alone: some device must have got it, if one came. */
function isLostForUser(facts: Facts, message: MessageFacts): boolean {
  if (message.droppedForUser !== undefined) return false;
  const devices = facts.devicesOf(message.sent.to);
  if (!devices.some((device) => facts.isOnlineAtEnd(device))) return false;
  return devices.every((device) => {
    const wasForgotten = device.registered.spans.some(
      ({ from, to }) => to !== Infinity && to >= message.sent.at && from <= facts.end,
    );
    return !wasForgotten && !device.got.has(message) && !isExcused(facts, message, device);
  });
}

function isLostFor(facts: Facts, message: MessageFacts, device: DeviceFacts): boolean {
  if (!facts.isOnlineAtEnd(device)) return false;
  return !device.got.has(message) && !isExcused(facts, message, device);
}

/** It was dropped by the store's own rules, or the device had it and lost its memory. */
function isExcused(facts: Facts, message: MessageFacts, device: DeviceFacts): boolean {
  const { rows, received } = facts.passage(message, device.name);
  if (rows.some(({ isDropped }) => isDropped)) return true;
  const first = received[0];
  if (first === undefined) return false;
  return facts.memoryAt(device, first) !== facts.memoryAt(device, facts.end);
}

/** Devices of the user that had known for long enough, when the message was sent, that they are registered, and still are at `at`. */
function owedDevices(facts: Facts, message: MessageFacts, user: string, at: number): DeviceFacts[] {
  return facts.devicesOf(user).filter(({ registered, admitted }) =>
    registered.spans.some(({ from, to }) => {
      const told = admitted.find((admission) => admission.at >= from);
      if (told === undefined || to <= at) return false;
      return heardOf(facts, told) + LEASE_MS <= message.sent.at;
    }),
  );
}

/** When the others could hear of it: a server that does not reach them tells them later, and one that has died meanwhile never. */
function heardOf(
  facts: Facts,
  { at, server }: { readonly at: number; readonly server: string },
): number {
  const { noBus, crashed } = facts.server(server);
  const alone = noBus.spans.find(({ from, to }) => from <= at && at < to);
  if (alone === undefined) return at;
  const hasDied = crashed.some((moment) => moment >= at && moment < alone.to);
  return hasDied ? at + REREAD_MS : Math.min(alone.to, at + REREAD_MS);
}

function hasReceived(
  facts: Facts,
  message: MessageFacts,
  device: DeviceFacts,
  at: number,
): boolean {
  const first = facts.passage(message, device.name).received[0];
  return first !== undefined && first <= at;
}

function senderOf(message: MessageFacts): string {
  return message.sent.device.slice(0, message.sent.device.indexOf("/"));
}

function violation(
  fault: "lost" | "early ack",
  message: MessageFacts,
  at: number,
  devices: readonly string[],
  says: string,
): Violation {
  const involved = [...new Set([message.sent.device, ...devices])];
  return { law: "L1", fault, says, at, messages: [message.name], devices: involved };
}
