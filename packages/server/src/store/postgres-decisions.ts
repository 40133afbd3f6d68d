/** What the calls that change users decide, on what their transaction has read. */
import type { Millis, PushRegistration } from "@beckon/protocol";

import { mayRing } from "./call.ts";
import {
  coalesces,
  durableOf,
  isSameToken,
  setOf,
  silence,
  update,
  wakeIntentOf,
} from "./holder.ts";
import type { Holder } from "./holder.ts";
import type { Holders, User } from "./postgres-holders.ts";
import type { StoredMutes } from "./postgres-mutes.ts";
import { refOf } from "./postgres-rows.ts";
import type { Kept, Rows } from "./postgres-rows.ts";
import { doesWake, isMuted, mute, quietDevice } from "./quiet.ts";
import {
  HELD_COUNT_LIMIT,
  SEEN_INTERVAL_MS,
  endingOf,
  isLost,
  isOwedTruth,
  longestUnseen,
  markMissed,
  sidesOf,
  tell,
} from "./rules.ts";
import type {
  Arrival,
  ArrivalResult,
  DurableSet,
  Ending,
  HoldRequest,
  HoldResult,
  RowRef,
  StoreLimits,
  WakeIntent,
  WakeOutcome,
} from "./store.ts";
import {
  adoptWakes,
  arriveAt,
  arrivedWake,
  claimDue,
  concludeWake,
  endCall,
  forgetOutlived,
  forgetWakes,
  generationOf,
  leaveFrom,
  rememberEnd,
  wakeFor,
} from "./waking.ts";

export class Decisions {
  readonly #limits: StoreLimits;
  readonly #now: Millis;
  readonly #holders: Holders;
  readonly #rows: Rows;
  readonly #mutes: StoredMutes;
  readonly #callRows: ReadonlySet<RowRef>;

  /** `callRows`: the rows of calls that are there, where that is asked. */
  constructor(
    limits: StoreLimits,
    now: Millis,
    holders: Holders,
    rows: Rows,
    mutes: StoredMutes,
    callRows: ReadonlySet<RowRef>,
  ) {
    this.#limits = limits;
    this.#now = now;
    this.#holders = holders;
    this.#rows = rows;
    this.#mutes = mutes;
    this.#callRows = callRows;
  }

  // Messages

  hold(request: HoldRequest): HoldResult {
    const kept = this.#rows.of(request.key);
    if (kept.some(({ digest }) => digest !== request.digest)) return { outcome: "conflict" };

    const user = this.#holders.user(request.user);
    const durable = durableOf(user);
    let targets = durable.filter(({ device }) => !request.exclude.includes(device));
    if (durable.length === 0) targets = request.orUser ? [user.own] : [];

    const old = kept.filter((row) => row.user === request.user);
    const fresh = targets.filter(({ device }) => !old.some((row) => row.device === device));
    const takers = fresh.filter(({ held }) => held < this.#limits.heldPerDevice);
    for (const holder of fresh) if (!takers.includes(holder)) this.#dropFor(holder);
    const nobodyElse = old.length === 0 && targets.length >= durable.length;
    if (fresh.length > 0 && takers.length === 0 && nobodyElse) return { outcome: "full" };

    const isHeard = this.#isHeard(request);
    const coalesced = isHeard && !mayRing(request.wake) ? takers.filter(coalesces).length : 0;
    const due: string[] = [];
    for (const row of old) if (request.sent.includes(row.device)) this.#rows.markSent(row);
    const rows = old.map((row) => answer(row, false));
    const { retentionMs } = this.#limits;
    for (const holder of takers) {
      if (holder.held === 0) forgetOutlived(holder);
      const row = answer(this.#rows.insert(request, holder), true);
      rows.push(row);
      const over = user.own.calls;
      const fell = isHeard && wakeFor(holder, request, row.row, over, retentionMs, this.#now);
      if (fell && holder.device !== "") due.push(holder.device);
      this.#holders.heldChanged(holder);
    }
    const ending = endingOf(request);
    if (ending !== undefined) this.end([ending]);
    return { outcome: "held", rows, ...setOf(user), due, coalesced };
  }

  #isHeard({ user, wake }: HoldRequest): boolean {
    const mutedUntil = this.#mutes.of(user).get(wake.conversation);
    return doesWake(wake.class, mutedUntil, this.#now);
  }

  /** A row of the holder was never made. Where it was the user's own there is nobody to tell. */
  #dropFor(holder: Holder): void {
    if (holder.device === "") return;
    markMissed(holder);
    this.#holders.heldChanged(holder);
  }

  // Devices

  /** Of a durable one. */
  arrive(arrival: Arrival): ArrivalResult {
    const user = this.#holders.user(arrival.user);
    const device = this.#admit(user, arrival.device);
    this.#update(device, arrival.protocols, arrival.push);
    if (this.#now - device.seen >= SEEN_INTERVAL_MS) {
      device.seen = this.#now;
      this.#holders.changed(device);
    }
    if (device.missed) this.#holders.heldChanged(device);
    const recovered = tell(device, arrival.lastEpoch, arrival.epoch);
    const wake = arrivedWake(device, this.#now);
    if (generationOf(device) !== 0) {
      arriveAt(device, this.#now);
      this.#holders.heldChanged(device);
    }
    return { ...arrivalResult(user, device, recovered), wake };
  }

  register(
    userName: string,
    deviceName: string,
    protocols: readonly string[],
    push: PushRegistration,
  ): { setVersion: number; setSize: number } {
    const user = this.#holders.user(userName);
    const device = this.#admit(user, deviceName);
    this.#update(device, protocols, push);
    if (this.#now - device.seen >= SEEN_INTERVAL_MS) {
      device.seen = this.#now;
      this.#holders.changed(device);
    }
    return setOf(user);
  }

  unregister(userName: string, deviceName: string): void {
    const device = this.#holders.user(userName).devices.get(deviceName);
    if (device !== undefined) this.#silence(device);
  }

  /** Makes the device one of the user's durable ones, if it is not. */
  #admit(user: User, name: string): Holder {
    const known = user.devices.get(name);
    if (known !== undefined && !known.dormant) return known;

    const others = durableOf(user);
    const device = known ?? this.#holders.create(user, name);
    device.dormant = false;
    device.seen = this.#now;
    this.#holders.changed(device);
    this.#raise(user);
    if (others.length === 0) this.#adopt(user.own, device);
    if (others.length >= this.#limits.durableDevicesPerUser) {
      this.#makeDormant(longestUnseen(others));
    }
    return device;
  }

  #raise({ own }: User): void {
    own.setVersion++;
    this.#holders.changed(own);
  }

  /** The first durable device takes over what belonged to the user alone. */
  #adopt(own: Holder, device: Holder): void {
    if (own.held === 0) forgetOutlived(own);
    adoptWakes(own, device);
    if (own.held > 0) {
      this.#rows.move(own.user, device.device);
      device.held += own.held;
      own.held = 0;
    }
  }

  #update(device: Holder, protocols: readonly string[], push: PushRegistration | undefined): void {
    const before = device.push;
    if (!update(device, protocols, push)) return;
    this.#holders.changed(device);
    if (push === undefined || device.push === before) return;
    // Whoever has the token was read, and is locked.
    for (const user of this.#holders.all()) {
      for (const other of user.devices.values()) {
        if (other !== device && isSameToken(other.push, push)) this.#silence(other);
      }
    }
  }

  #silence(device: Holder): void {
    if (silence(device, this.#now)) this.#holders.changed(device);
  }

  /** Nothing is held for it any more, and what was is dropped. */
  #makeDormant(device: Holder): void {
    device.dormant = true;
    markMissed(device);
    this.#rows.removeAll(device);
    device.held = 0;
    forgetWakes(device);
    this.#holders.changed(device);
  }

  forget(userName: string, deviceName: string): { setVersion: number; setSize: number } {
    const user = this.#holders.user(userName);
    const device = user.devices.get(deviceName);
    if (device !== undefined) {
      this.#rows.removeAll(device);
      this.#rows.forget(userName, deviceName);
      this.#holders.delete(user, device);
      this.#raise(user);
    }
    return setOf(user);
  }

  /** Of all users that were read. */
  retire(now: Millis): DurableSet[] {
    const changed: DurableSet[] = [];
    for (const user of this.#holders.all()) {
      const lost = durableOf(user).filter((device) => isLost(device, now, this.#limits));
      if (lost.length === 0) continue;
      for (const device of lost) this.#makeDormant(device);
      this.#raise(user);
      changed.push({ user: user.name, ...setOf(user) });
    }
    return changed;
  }

  // Wakes

  /** Of these devices, in this order, what is still due. */
  claim(
    owner: string,
    leaseMs: Millis,
    limit: number,
    devices: readonly { readonly user: string; readonly device: string }[],
  ): WakeIntent[] {
    const claimed: WakeIntent[] = [];
    const until = this.#now + leaseMs;
    const { retentionMs } = this.#limits;
    for (const { user, device: name } of devices) {
      const device = this.#holders.user(user).devices.get(name);
      if (device?.push === undefined) continue;
      const claim = { owner, until, retentionMs, room: limit - claimed.length };
      const isHeld = (row: RowRef): boolean => this.#callRows.has(row);
      const found = claimDue(device, device.held > 0, isHeld, claim, this.#now);
      this.#holders.heldChanged(device);
      claimed.push(...found.map((one) => wakeIntentOf(device, one)));
    }
    return claimed;
  }

  done(
    owner: string,
    outcomes: readonly { user: string; device: string; call: string; outcome: WakeOutcome }[],
  ): void {
    for (const { user, device: name, call, outcome } of outcomes) {
      const device = this.#holders.user(user).devices.get(name);
      if (device === undefined) continue;
      if (!concludeWake(device, owner, call, outcome, this.#now)) continue;
      this.#holders.heldChanged(device);
      if (outcome.kind === "gone" && device.push?.token === outcome.token) this.#silence(device);
    }
  }

  end(endings: readonly Ending[]): void {
    for (const ending of endings) {
      const id = ending.call.toHex();
      for (const { user: name, from } of sidesOf(ending)) {
        const { own, devices } = this.#holders.user(name);
        for (const holder of [own, ...devices.values()]) {
          if (endCall(holder, id, from, this.#now)) this.#holders.heldChanged(holder);
        }
        if (devices.size === 0) continue;
        rememberEnd(own, id, from, this.#now);
        this.#holders.heldChanged(own);
      }
    }
  }

  clear(user: string, name: string, generation: number): number {
    const device = this.#holders.user(user).devices.get(name);
    const present = device === undefined ? 0 : generationOf(device);
    if (present === 0 || present !== generation || device!.held > 0) return present;
    forgetWakes(device!);
    this.#holders.heldChanged(device!);
    return 0;
  }

  leave(user: string, name: string): void {
    const device = this.#holders.user(user).devices.get(name);
    if (device === undefined || generationOf(device) === 0) return;
    leaveFrom(device, this.#now);
    this.#holders.heldChanged(device);
  }

  quiet(userName: string, deviceName: string, conversation: string, until: Millis): boolean {
    const user = this.#holders.user(userName);
    if (conversation === "") {
      const device = user.devices.get(deviceName);
      if (device === undefined) return false;
      quietDevice(device, until, this.#now);
      this.#holders.changed(device);
      return true;
    }
    const gone = mute(this.#mutes.of(userName), conversation, until, this.#now);
    this.#mutes.remove(userName, gone);
    if (until <= this.#now) return true;
    this.#mutes.set(userName, conversation, until);
    for (const holder of [user.own, ...user.devices.values()]) {
      if (!isMuted(holder.intent, conversation)) continue;
      holder.intent = undefined;
      this.#holders.heldChanged(holder);
    }
    return true;
  }
}

/** A session device only reads. */
export function look({ lastEpoch, device: name }: Arrival, user: User): ArrivalResult {
  const device = user.devices.get(name);
  return arrivalResult(user, device, device === undefined || !isOwedTruth(device, lastEpoch));
}

function arrivalResult(user: User, device: Holder | undefined, recovered: boolean): ArrivalResult {
  return {
    ...setOf(user),
    held: Math.min(HELD_COUNT_LIMIT, (device?.held ?? 0) + user.own.held),
    recovered,
    generation: device === undefined ? 0 : generationOf(device),
  };
}

function answer(
  kept: Kept,
  isNew: boolean,
): { device: string; row: string | number; isNew: boolean } {
  return { device: kept.device, row: refOf(kept), isNew };
}
