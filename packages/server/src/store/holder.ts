/** Whom rows are held for, as the databases that keep them see it in memory. */
import type { Millis, PushRegistration } from "@beckon/protocol";

import type { Intent } from "./intent.ts";
import type { Debt } from "./rules.ts";
import type { WakeIntent } from "./store.ts";

/** A device, or ("") the user alone. */
export interface Holder extends Debt {
  readonly user: string;
  readonly device: string;
  /** Of the user's set of durable devices; on the user's own alone. */
  setVersion: number;
  dormant: boolean;
  protocols: readonly string[];
  push: PushRegistration | undefined;
  seen: Millis;
  goneAt: Millis | undefined;
  /** Unsettled rows. */
  held: number;
  generation: number;
  intent: Intent | undefined;
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
    missed: false,
    toldEpoch: undefined,
    held: 0,
    generation: 0,
    intent: undefined,
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

/** What the device registered. Answers whether that is anything new. */
export function update(
  device: Holder,
  protocols: readonly string[],
  push: PushRegistration | undefined,
): boolean {
  const isNew = !isSame(device.protocols, protocols);
  if (isNew) device.protocols = protocols;
  if (push === undefined) return isNew;
  device.push = push;
  device.goneAt = undefined;
  return true;
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, at) => item === b[at]);
}

/** Of a device with an intent and a registration. */
export function wakeIntentOf(device: Holder): WakeIntent {
  const { user, device: name, generation, intent, protocols, push } = device;
  return {
    user,
    device: name,
    generation,
    class: intent!.class,
    attempts: intent!.attempts,
    activity: intent!.activity,
    conversation: intent!.conversation,
    server: intent!.server,
    preview: intent!.preview,
    expires: intent!.expires,
    protocols,
    push: push!,
  };
}
