/** `recovered` in WELCOME is false if and only if something that was owed to this device was dropped. */
import type { ConnectionFacts, DeviceFacts, Facts } from "../facts.ts";
import type { Violation } from "../violation.ts";

/** A handshake may have read the store this long before its WELCOME. */
const HANDSHAKE_MS = 5_000;

export function checkRecovered(facts: Facts): Violation[] {
  return [...facts.devices.values()].flatMap((device) => {
    const drops = [...facts.messages.values()]
      .flatMap((message) => message.passages.get(device.name)?.rows ?? [])
      .flatMap(({ to, isDropped }) => (isDropped ? [to] : []))
      .toSorted((a, b) => a - b);
    return dishonest(facts, device, drops);
  });
}

function dishonest(facts: Facts, device: DeviceFacts, drops: readonly number[]): Violation[] {
  /** The last WELCOME that the device has read and that told it of a loss. */
  let told: ConnectionFacts | undefined;
  const violations: Violation[] = [];
  for (const connection of device.connections) {
    const { at, recovered, durable } = connection.welcomed;
    const since = told?.welcomed.at ?? -Infinity;
    const isForgotten =
      told?.online !== undefined &&
      facts.memoryAt(device, told.online.at) !== facts.memoryAt(device, at);
    const mustTell = drops.some((drop) => drop > since && drop <= at - HANDSHAKE_MS);
    const mayTell =
      drops.some((drop) => drop > since - HANDSHAKE_MS && drop <= at) ||
      (isForgotten && drops.length > 0);
    if (durable && recovered && mustTell) {
      violations.push(
        violation(device, at, "was told that it missed nothing, though something was dropped"),
      );
    }
    if (durable && !recovered && !mayTell) {
      violations.push(
        violation(device, at, "was told that it missed something, though nothing was dropped"),
      );
    }
    if (!recovered && connection.online !== undefined) told = connection;
  }
  return violations;
}

function violation({ name }: DeviceFacts, at: number, says: string): Violation {
  return {
    law: "recovered",
    fault: "dishonest",
    says: `${name} ${says}`,
    at,
    messages: [],
    devices: [name],
  };
}
