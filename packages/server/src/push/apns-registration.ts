/** A device's registration for APNs: its device token in hex, or JSON that says more. */
import * as z from "zod";

export interface Registration {
  /** Hex, lower case. */
  readonly device: string;
  /** Of PushKit: for calls. */
  readonly voip: string | undefined;
  /** The application: its bundle id. */
  readonly topic: string;
}

/** What is wrong with a registration, in our own words: nothing of what was given is in it. */
export class BadRegistration extends Error {
  override readonly name = "BadRegistration";
}

const LONGEST_TOKEN = 1024;

/** Apple says that their length may change: today 32 bytes, 80 for some. */
const TOKEN = /^([\da-f]{2}){32,100}$/i;

const shape = z.object({
  device: z.string(),
  voip: z.string().optional(),
  topic: z.string().optional(),
});

/**
 * `topics`: those that a device may name; where it names none it is of the first.
 * @throws {BadRegistration}
 */
export function readRegistration(token: string, topics: readonly string[]): Registration {
  if (token.length > LONGEST_TOKEN) {
    throw new BadRegistration(`it has more than ${LONGEST_TOKEN} characters`);
  }
  const { success, data } = shape.safeParse(
    token.startsWith("{") ? parse(token) : { device: token },
  );
  if (!success) {
    throw new BadRegistration(
      "it must be a device token in hex, or JSON with device and, if there are, voip and topic",
    );
  }
  const { device, voip, topic = topics[0]! } = data;
  if (!TOKEN.test(device))
    throw new BadRegistration("the device token must be 32 to 100 bytes in hex");
  if (voip !== undefined && !TOKEN.test(voip)) {
    throw new BadRegistration("voip must be 32 to 100 bytes in hex");
  }
  if (!topics.includes(topic)) {
    throw new BadRegistration("topic is neither push.apns.topic nor in push.apns.topics");
  }
  return { device: device.toLowerCase(), voip: voip?.toLowerCase(), topic };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
