/**
 * L3, step 8 of a message's life: what was held for a device when it connected comes before all that is live. An SDK would put it
 * in order again, at the price of asking the store; so it shows on the wire and not at the application. Calls may come at any time.
 */
import type { ConnectionFacts, DeviceFacts, Facts, MessageFacts } from "../facts.ts";
import type { Violation } from "../violation.ts";

export function checkBehind(facts: Facts): Violation[] {
  return [...facts.devices.values()].flatMap((device) => {
    const held = [...facts.messages.values()].filter(
      (message) => (message.passages.get(device.name)?.rows.length ?? 0) > 0,
    );
    if (held.length === 0) return [];
    const isCall = (name: string): boolean => facts.messages.get(name)?.sent.wake === "call";
    return device.connections.flatMap((connection) =>
      liveWhileBehind(device, connection, held, isCall),
    );
  });
}

function liveWhileBehind(
  { name }: DeviceFacts,
  { welcomed, delivered }: ConnectionFacts,
  held: readonly MessageFacts[],
  isCall: (message: string) => boolean,
): Violation[] {
  const live = delivered.find((event) => !event.held && !isCall(event.message));
  if (live === undefined) return [];
  const before = new Set(delivered.slice(0, delivered.indexOf(live)).map(({ message }) => message));
  const unread = held.find((message) => {
    const { rows } = message.passages.get(name)!;
    const isThere = rows.some(({ from, to }) => from < welcomed.at && to > live.at);
    return isThere && !before.has(message.name);
  });
  if (unread === undefined) return [];
  return [
    {
      law: "L3",
      fault: "live while behind",
      says: `${name} got ${live.message} live before ${unread.name}, which was held for it when it connected`,
      at: live.at,
      messages: [live.message, unread.name],
      devices: [name],
    },
  ];
}
