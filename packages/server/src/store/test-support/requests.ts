/** What tests ask of a store, short of what a test is about. */
import { uuidv7 } from "@beckon/protocol";
import type { Millis, PushRegistration, WakeClass } from "@beckon/protocol";

import type { Arrival, HoldRequest, HoldResult, WakeRequest } from "../store.ts";

export const START: Millis = 1_700_000_000_000;
export const SECOND: Millis = 1_000;
export const MINUTE: Millis = 60 * SECOND;
export const HOUR: Millis = 60 * MINUTE;
export const DAY: Millis = 24 * HOUR;

let lastId = 0;

/** A new id of that time. */
export function newId(time: Millis = START): Uint8Array {
  return uuidv7(time, (bytes) => new DataView(bytes.buffer).setUint32(12, ++lastId));
}

export interface Wanted extends Partial<Omit<HoldRequest, "wake" | "key">> {
  readonly id?: Uint8Array;
  readonly from?: string;
  readonly fromDevice?: string;
  readonly wake?: WakeClass;
  readonly server?: string;
  readonly conversation?: string;
  readonly preview?: string;
  readonly delay?: Millis;
  readonly rings?: Millis;
}

/** From Ann's phone to Bob, a new message unless an id is given. */
export function request(wanted: Wanted = {}): HoldRequest {
  const { id, from = "ann", fromDevice = "phone", user = "bob", to = user, ...rest } = wanted;
  const wake: WakeRequest = {
    class: wanted.wake ?? "message",
    server: wanted.server ?? "server-1",
    conversation: wanted.conversation ?? from,
    preview: wanted.preview ?? "",
    delay: wanted.delay ?? 0,
    rings: wanted.rings ?? 30 * SECOND,
  };
  return {
    key: { from, fromDevice, id: id ?? newId() },
    user,
    to,
    outbox: rest.outbox ?? 1,
    n: rest.n ?? 1,
    body: rest.body ?? new Uint8Array([1, 2, 3]),
    digest: rest.digest ?? "digest",
    exclude: rest.exclude ?? [],
    sent: rest.sent ?? [],
    orUser: rest.orUser ?? true,
    ends: rest.ends ?? new Uint8Array(),
    wake,
  };
}

export function registration(token: string, keyId = 1): PushRegistration {
  return { provider: "dev", token, key: { id: keyId, key: new Uint8Array(32).fill(keyId) } };
}

/** A durable device that can be pushed to. */
export function arrival(user: string, device: string, wanted: Partial<Arrival> = {}): Arrival {
  return {
    user,
    device,
    durable: true,
    protocols: ["ws"],
    push: registration(`token of ${user}'s ${device}`),
    lastEpoch: 0,
    epoch: 1,
    ...wanted,
  };
}

export type Held = Extract<HoldResult, { outcome: "held" }>;

export function held(result: HoldResult | undefined): Held {
  if (result?.outcome !== "held") throw new Error(`expected held, got ${result?.outcome}`);
  return result;
}
