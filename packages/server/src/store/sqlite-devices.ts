import type { Statement } from "bun:sqlite";

import type { Millis, PushRegistration } from "@beckon/protocol";

import { deviceRecordOf, durableOf, setOf, silence, update } from "./holder.ts";
import {
  HELD_COUNT_LIMIT,
  SEEN_INTERVAL_MS,
  isLost,
  isOwedTruth,
  longestUnseen,
  markMissed,
  tell,
} from "./rules.ts";
import type { Holder, Holders, User } from "./sqlite-holders.ts";
import type { Rows } from "./sqlite-rows.ts";
import type {
  Arrival,
  ArrivalResult,
  ArrivedWake,
  DeviceRecord,
  DurableSet,
  StoreLimits,
} from "./store.ts";
import type { SqliteFile } from "./sqlite-schema.ts";
import {
  adoptWakes,
  arriveAt,
  arrivedWake,
  forgetOutlived,
  forgetWakes,
  generationOf,
} from "./waking.ts";

/** Users of whom one `retire` looks at devices, so that it does not hold up what waits behind it. */
export const RETIRE_SLICE = 2_000;

export class Devices {
  readonly #limits: StoreLimits;
  readonly #holders: Holders;
  readonly #rows: Rows;
  readonly #set: Statement<{ version: number | null; size: number | null }, [string]>;
  readonly #nextUsers: Statement<{ user: string }, [string, number]>;

  constructor(file: SqliteFile, limits: StoreLimits, holders: Holders, rows: Rows) {
    this.#limits = limits;
    this.#holders = holders;
    this.#rows = rows;
    this.#set = file.prepare(
      "SELECT max(set_version) AS version, sum(device <> '' AND NOT dormant) AS size FROM holder WHERE user = ?",
    );
    this.#nextUsers = file.prepare(
      "SELECT user FROM holder WHERE device = '' AND user > ? ORDER BY user LIMIT ?",
    );
  }

  arrive(arrival: Arrival, now: Millis): ArrivalResult {
    const user = this.#holders.user(arrival.user);
    let device = user.devices.get(arrival.device);
    let recovered = device === undefined || !isOwedTruth(device, arrival.lastEpoch);
    let wake: ArrivedWake | undefined;
    if (arrival.durable) {
      device = this.#admit(user, arrival.device, now);
      this.#update(device, arrival.protocols, arrival.push, now);
      if (now - device.seen >= SEEN_INTERVAL_MS) {
        device.seen = now;
        this.#holders.changed(device);
      }
      if (device.missed) this.#holders.heldChanged(device);
      recovered = tell(device, arrival.lastEpoch, arrival.epoch);
      wake = arrivedWake(device, now);
      if (generationOf(device) !== 0) {
        arriveAt(device, now);
        this.#holders.heldChanged(device);
      }
    }
    return {
      ...setOf(user),
      held: Math.min(HELD_COUNT_LIMIT, (device?.held ?? 0) + (user.own?.held ?? 0)),
      recovered,
      generation: device === undefined ? 0 : generationOf(device),
      wake,
    };
  }

  register(
    userName: string,
    deviceName: string,
    protocols: readonly string[],
    push: PushRegistration,
    now: Millis,
  ): { setVersion: number; setSize: number } {
    const user = this.#holders.user(userName);
    const device = this.#admit(user, deviceName, now);
    this.#update(device, protocols, push, now);
    if (now - device.seen >= SEEN_INTERVAL_MS) {
      device.seen = now;
      this.#holders.changed(device);
    }
    return setOf(user);
  }

  unregister(userName: string, deviceName: string, now: Millis): void {
    const device = this.#holders.user(userName).devices.get(deviceName);
    if (device !== undefined && silence(device, now)) this.#holders.changed(device);
  }

  /** Makes the device one of the user's durable ones, if it is not. */
  #admit(user: User, name: string, now: Millis): Holder {
    const known = user.devices.get(name);
    if (known !== undefined && !known.dormant) return known;

    const others = durableOf(user);
    const device = known ?? this.#holders.create(user, name);
    device.dormant = false;
    device.seen = now;
    this.#holders.changed(device);
    this.#raise(user);
    if (others.length === 0) this.#adopt(this.#holders.own(user), device);
    if (others.length >= this.#limits.durableDevicesPerUser) {
      this.#makeDormant(longestUnseen(others));
    }
    return device;
  }

  #raise(user: User): void {
    const own = this.#holders.own(user);
    own.setVersion++;
    this.#holders.changed(own);
  }

  /** The first durable device takes over what belonged to the user alone. */
  #adopt(own: Holder, device: Holder): void {
    if (own.held === 0) forgetOutlived(own);
    adoptWakes(own, device);
    if (own.held > 0) this.#rows.move(own, device);
  }

  #update(
    device: Holder,
    protocols: readonly string[],
    push: PushRegistration | undefined,
    now: Millis,
  ): void {
    const before = device.push;
    if (!update(device, protocols, push)) return;
    this.#holders.changed(device);
    if (push === undefined || device.push === before) return;
    for (const other of this.#holders.withToken(push.provider, push.token)) {
      if (other !== device && silence(other, now)) this.#holders.changed(other);
    }
  }

  /** Nothing is held for it any more, and what was is dropped. */
  #makeDormant(device: Holder): void {
    device.dormant = true;
    markMissed(device);
    this.#rows.removeAll(device);
    forgetWakes(device);
    this.#holders.changed(device);
  }

  forget(userName: string, deviceName: string): { setVersion: number; setSize: number } {
    const user = this.#holders.user(userName);
    const device = user.devices.get(deviceName);
    if (device !== undefined) {
      this.#rows.removeAll(device);
      this.#holders.delete(user, device);
      this.#raise(user);
    }
    return setOf(user);
  }

  devices(name: string): { setVersion: number; devices: DeviceRecord[] } {
    const user = this.#holders.user(name);
    const devices = [...user.devices.values()].sort((a, b) => (a.device < b.device ? -1 : 1));
    return {
      setVersion: user.own?.setVersion ?? 0,
      devices: devices.map((device) => deviceRecordOf(device)),
    };
  }

  sets(users: readonly string[]): DurableSet[] {
    return users.map((user) => {
      const { version, size } = this.#set.get(user)!;
      return { user, setVersion: version ?? 0, setSize: size ?? 0 };
    });
  }

  /** One slice of users, after the one named; `next` is undefined when it was the last. */
  retire(now: Millis, after: string): { changed: DurableSet[]; next: string | undefined } {
    const names = this.#nextUsers.all(after, RETIRE_SLICE).map(({ user }) => user);
    const changed: DurableSet[] = [];
    for (const name of names) {
      const user = this.#holders.user(name);
      const lost = durableOf(user).filter((device) => isLost(device, now, this.#limits));
      if (lost.length === 0) continue;
      for (const device of lost) this.#makeDormant(device);
      this.#raise(user);
      changed.push({ user: name, ...setOf(user) });
    }
    return { changed, next: names.length < RETIRE_SLICE ? undefined : names.at(-1) };
  }
}
