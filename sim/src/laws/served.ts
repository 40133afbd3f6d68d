/**
 * L7, L8, L9: what fails inside of the system costs no message: nothing is refused for good because of it, and when all is
 * healthy again every device is connected that was not forgotten, and all that was sent has been answered.
 */
import type { DeviceFacts, Facts } from "../facts.ts";
import type { Violation } from "../violation.ts";
import { isBeatenByFormerSelf } from "./one-connection.ts";

const STORED_MS = 500;

export function checkServed(facts: Facts): Violation[] {
  return [...refusals(facts), ...stuck(facts), ...threw(facts)];
}

function threw(facts: Facts): Violation[] {
  return facts.history.flatMap((event) => {
    if (event.kind !== "threw") return [];
    const says = `${event.process} has thrown where nobody catches: ${event.error}`;
    return [{ law: "L8", fault: "threw", says, at: event.at, messages: [], devices: [] }];
  });
}

function refusals(facts: Facts): Violation[] {
  return [...facts.messages.values()].flatMap(({ name, refused }) => {
    if (refused === undefined || refused.expected) return [];
    // An SDK that is closed for good refuses what it has; whether it had to be closed is decided there.
    if (refused.code === "replaced" && isBeatenByFormerSelf(facts, refused)) return [];
    const isForgotten = facts.wasForgotten(facts.device(refused.device), refused.at);
    if (refused.code === "revoked" && isForgotten) return [];
    return [
      {
        law: "L8" as const,
        fault: "refused" as const,
        says: `${name} was refused for good with ${refused.code}, which nothing that it did explains`,
        at: refused.at,
        messages: [name],
        devices: [refused.device],
      },
    ];
  });
}

function stuck(facts: Facts): Violation[] {
  const violations: Violation[] = [];
  for (const device of facts.devices.values()) {
    const life = device.lives.at(-1);
    if (life === undefined || life.to !== facts.end) continue;
    if (!facts.isOnlineAtEnd(device)) {
      const says = `${device.name} runs, and is not connected when all is healthy`;
      violations.push(violation(says, facts.end, [], device.name));
    } else if (isForgottenAtEnd(device)) {
      const says = `${device.name} was forgotten, and is still connected when all is healthy`;
      violations.push(violation(says, facts.end, [], device.name));
    }
  }
  for (const message of facts.messages.values()) {
    const { device } = message.sent;
    const sender = facts.device(device);
    const life = sender.lives.findLast(({ from }) => from <= message.sent.at);
    // What was given to the SDK the moment before a crash may not have been stored yet.
    const isRemembered =
      life === undefined ||
      (sender.lives.at(-1)?.to === facts.end &&
        life.memory === facts.memoryAt(sender, facts.end) &&
        life.to - message.sent.at > STORED_MS);
    const isAnswered =
      message.acks.length > 0 || message.denied !== undefined || message.refused !== undefined;
    if (isAnswered || !isRemembered) continue;
    const says = `${message.name} was sent and neither acknowledged nor refused when all is healthy`;
    violations.push(violation(says, facts.end, [message.name], device));
  }
  return violations;
}

/** It is connected as the durable device that it is no more. */
function isForgottenAtEnd({ connections, registered }: DeviceFacts): boolean {
  const last = connections.findLast(({ online }) => online !== undefined);
  return last?.welcomed.durable === true && registered.spans.at(-1)?.to !== Infinity;
}

function violation(
  says: string,
  at: number,
  messages: readonly string[],
  device: string,
): Violation {
  return { law: "L9", fault: "stuck", says, at, messages, devices: [device] };
}
