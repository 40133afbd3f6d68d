/** Whom rows are held for, as the databases that keep them see it in memory. */
import type { Millis, PushRegistration } from "@beckon/protocol";

import type { Claimed, Woken } from "./waking.ts";
import type { Debt } from "./rules.ts";
import type { DeviceRecord, WakeIntent } from "./store.ts";

/** A device, or ("") the user alone. */
export interface Holder extends Debt, Woken {
  readonly user: string;
  readonly device: string;
  /** Of the user's set of durable devices; on the user's own alone. */
  setVersion: number;
  dormant: boolean;
  protocols: readonly string[];
  push: PushRegistration | undefined;
  seen: Millis;
  goneAt: Millis | undefined;
  /** It is not pushed to before that. */
  quietUntil: Millis;
  /** Unsettled rows. */
  held: number;
}

export function newHolder(user: string, device: string): Holder {
  return {
    user,
    device,
    setVersion: 0,
    dormant: false,
    protocols: [],
    push: undefined,
    seen: 0,
    goneAt: undefined,
    quietUntil: 0,
    missed: false,
    toldEpoch: undefined,
    held: 0,
    generation: 0,
    intent: undefined,
    calls: [],
  };
}

export function durableOf<Device extends { readonly dormant: boolean }>(user: {
  readonly devices: ReadonlyMap<string, Device>;
}): Device[] {
  return [...user.devices.values()].filter(({ dormant }) => !dormant);
}

export function setOf(user: {
  readonly own: Holder | undefined;
  readonly devices: ReadonlyMap<string, Holder>;
}): { setVersion: number; setSize: number } {
  return { setVersion: user.own?.setVersion ?? 0, setSize: durableOf(user).length };
}

/** A message for it is one more that its intent speaks for. */
export function coalesces({ device, push, held, intent }: Holder): boolean {
  return device !== "" && push !== undefined && held > 0 && intent !== undefined;
}

interface Registered {
  protocols: readonly string[];
  push: PushRegistration | undefined;
  /** Since when nobody can push to it. */
  goneAt: Millis | undefined;
}

/** What the device registered. Answers whether that is anything new. */
export function update(
  device: Registered,
  protocols: readonly string[],
  push: PushRegistration | undefined,
): boolean {
  const isNew = !isSame(device.protocols, protocols);
  if (isNew) device.protocols = protocols;
  if (push === undefined || isSamePush(device.push, push)) return isNew;
  device.push = push;
  device.goneAt = undefined;
  return true;
}

/** Nobody can push to it any more. Answers whether somebody could. */
export function silence(device: Registered, now: Millis): boolean {
  if (device.push === undefined) return false;
  device.push = undefined;
  device.goneAt = now;
  return true;
}

function isSamePush(a: PushRegistration | undefined, b: PushRegistration): boolean {
  if (a === undefined || !isSameToken(a, b) || a.key.id !== b.key.id) return false;
  const { key } = b.key;
  return a.key.key.length === key.length && a.key.key.every((byte, at) => byte === key[at]);
}

/** Pushes to the one reach the other. */
export function isSameToken(a: PushRegistration | undefined, b: PushRegistration): boolean {
  return a?.provider === b.provider && a.token === b.token;
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, at) => item === b[at]);
}

export function deviceRecordOf(
  device: Pick<Holder, "device" | "protocols" | "push" | "seen" | "dormant" | "quietUntil">,
): DeviceRecord {
  const { device: name, protocols, push, seen, dormant, quietUntil } = device;
  return {
    device: name,
    protocols,
    ...(push !== undefined && { push }),
    seen,
    dormant,
    ...(quietUntil > 0 && { quietUntil }),
  };
}

/** Of a device with a registration. */
export function wakeIntentOf(device: Holder, claimed: Claimed): WakeIntent {
  const { user, device: name, protocols, push } = device;
  return { user, device: name, ...claimed, protocols, push: push! };
}
