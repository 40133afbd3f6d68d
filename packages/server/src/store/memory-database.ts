/**
 * The store's laws in plain code: each method is one transaction, run to its end at once. The other backends are held
 * against this one.
 */
import { uuidTime } from "@beckon/protocol";
import type { Millis, PushRegistration } from "@beckon/protocol";

import type { Clock } from "../lib/clock.ts";
import { isRinging, mayRing } from "./call.ts";
import { deviceRecordOf, durableOf, silence, update } from "./holder.ts";
import { doesWake, isMuted, mute, mutesOf, quietDevice } from "./quiet.ts";
import type { Mutes } from "./quiet.ts";
import { MemoryTies } from "./memory-ties.ts";
import {
  HELD_COUNT_LIMIT,
  SEEN_INTERVAL_MS,
  checkRequest,
  endingOf,
  isLost,
  isOwedTruth,
  longestUnseen,
  markMissed,
  sidesOf,
  tell,
} from "./rules.ts";
import type { Debt } from "./rules.ts";
import type {
  Arrival,
  ArrivalResult,
  ArrivedWake,
  DeviceRecord,
  DurableSet,
  Ending,
  HoldRequest,
  HoldResult,
  MessageKey,
  Mute,
  PendingRow,
  RowRef,
  StoreLimits,
  StorePosition,
  StoredTie,
  TailEntry,
  TieChange,
  WakeIntent,
  WakeOutcome,
} from "./store.ts";
import type { Transactions } from "./transactions.ts";
import {
  adoptWakes,
  arriveAt,
  arrivedWake,
  claimDue,
  concludeWake,
  dueOf,
  endCall,
  forgetOutlived,
  forgetWakes,
  generationOf,
  leaveFrom,
  namedBy,
  rememberEnd,
  wakeFor,
} from "./waking.ts";
import type { Woken } from "./waking.ts";

/** One payload under one key, held for at least one user. */
interface Payload {
  readonly digest: string;
  readonly users: Map<string, Message>;
}

/** One message for one user; there as long as it has rows. */
interface Message {
  readonly request: HoldRequest;
  /** By device; "" is the user's own. */
  readonly rows: Map<string, Row>;
}

interface Row {
  /** Given in the order of commits. */
  readonly ref: number;
  readonly message: Message;
  holder: Holder;
  redelivered: boolean;
}

/** Whom rows are for: a device, or ("") the user alone. */
interface Holder extends Woken {
  readonly user: User;
  readonly device: string;
  /** In the order they came. */
  readonly rows: Map<number, Row>;
}

interface Device extends Holder, Debt {
  protocols: readonly string[];
  push: PushRegistration | undefined;
  seen: Millis;
  /** Since when the push service has not known it. */
  goneAt: Millis | undefined;
  dormant: boolean;
}

interface User {
  readonly name: string;
  readonly devices: Map<string, Device>;
  /** The rows that belong to the user alone. Only where there is no durable device. */
  readonly own: Holder;
  readonly mutes: Mutes;
  setVersion: number;
}

export class MemoryDatabase implements Transactions {
  readonly #clock: Pick<Clock, "now">;
  readonly #limits: StoreLimits;
  readonly #users = new Map<string, User>();
  readonly #payloads = new Map<string, Payload>();
  readonly #rows = new Map<number, Row>();
  /** Rows by ref, settled ones among them until it is swept. */
  #log: Row[] = [];
  #lastRef = 0;
  /** Devices that something wakes. */
  readonly #woken = new Set<Device>();
  readonly #ties = new MemoryTies();
  /** Devices with a push registration, by its provider and token. */
  readonly #registered = new Map<string, Device>();

  constructor(clock: Pick<Clock, "now">, limits: StoreLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  /** Of everyone. What was acknowledged and is not yet settled is here. */
  get heldRows(): number {
    return this.#rows.size;
  }

  // Messages

  hold(requests: readonly HoldRequest[]): readonly HoldResult[] {
    for (const request of requests) checkRequest(request);
    return requests.map((request) => this.#hold(request));
  }

  #hold(request: HoldRequest): HoldResult {
    const name = nameOf(request.key);
    const payload = this.#payloads.get(name);
    if (payload !== undefined && payload.digest !== request.digest) return { outcome: "conflict" };

    const user = this.#user(request.user);
    const durable = durableOf(user);
    const exclude = new Set(request.exclude);
    let targets: readonly Holder[] = durable.filter(({ device }) => !exclude.has(device));
    if (durable.length === 0) targets = request.orUser ? [user.own] : [];

    const old = payload?.users.get(request.user)?.rows ?? new Map<string, Row>();
    const fresh = targets.filter(({ device }) => !old.has(device));
    const takers = fresh.filter(({ rows }) => rows.size < this.#limits.heldPerDevice);
    for (const holder of fresh) if (!takers.includes(holder)) dropFor(holder);
    const nobodyElse = old.size === 0 && targets.length >= durable.length;
    if (fresh.length > 0 && takers.length === 0 && nobodyElse) return { outcome: "full" };

    const mutedUntil = user.mutes.get(request.wake.conversation);
    const isHeard = doesWake(request.wake.class, mutedUntil, this.#clock.now());
    const coalesced = isHeard && !mayRing(request.wake) ? takers.filter(coalesces).length : 0;
    const due: string[] = [];
    const isNew = new Set<Row>();
    for (const holder of takers) {
      if (holder.rows.size === 0) forgetOutlived(holder);
      const row = this.#insert(holder, request, name);
      isNew.add(row);
      if (isHeard && this.#wake(holder, request, row.ref)) due.push(holder.device);
    }
    const rows = [...(this.#payloads.get(name)?.users.get(request.user)?.rows.values() ?? [])];
    const sent = new Set(request.sent);
    for (const row of rows) row.redelivered ||= sent.has(row.holder.device);
    const ending = endingOf(request);
    if (ending !== undefined) this.#end(ending);

    return {
      outcome: "held",
      rows: rows.map((row) => ({
        device: row.holder.device,
        row: row.ref,
        isNew: isNew.has(row),
      })),
      setVersion: user.setVersion,
      setSize: durable.length,
      due,
      coalesced,
    };
  }

  #insert(holder: Holder, request: HoldRequest, name: string): Row {
    let payload = this.#payloads.get(name);
    if (payload === undefined) {
      payload = { digest: request.digest, users: new Map() };
      this.#payloads.set(name, payload);
    }
    let message = payload.users.get(request.user);
    if (message === undefined) {
      message = { request: { ...request, body: request.body.slice() }, rows: new Map() };
      payload.users.set(request.user, message);
    }
    const row: Row = { ref: ++this.#lastRef, message, holder, redelivered: false };
    message.rows.set(holder.device, row);
    holder.rows.set(row.ref, row);
    this.#rows.set(row.ref, row);
    this.#log.push(row);
    return row;
  }

  #remove(row: Row): void {
    const { key, user } = row.message.request;
    row.holder.rows.delete(row.ref);
    row.message.rows.delete(row.holder.device);
    this.#rows.delete(row.ref);
    if (row.message.rows.size === 0) {
      const name = nameOf(key);
      const payload = this.#payloads.get(name);
      payload?.users.delete(user);
      if (payload?.users.size === 0) this.#payloads.delete(name);
    }
    if (this.#log.length > 1_000 + 4 * this.#rows.size) {
      this.#log = this.#log.filter(({ ref }) => this.#rows.has(ref));
    }
  }

  pending(user: string, device: string, limit: number): readonly PendingRow[] {
    const owner = this.#users.get(user);
    if (owner === undefined) return [];
    const holders = [owner.devices.get(device), owner.own].filter((holder) => holder !== undefined);
    const now = this.#clock.now();
    const ringing = new Set(
      holders.flatMap(({ calls }) =>
        calls.filter((call) => isRinging(call, now)).map(({ row }) => row),
      ),
    );
    const isFirst = (row: Row): boolean => row.message.request.n === 0 && ringing.has(row.ref);
    const rows = holders.flatMap((holder) => [...holder.rows.values()]).sort(inOrder);
    const first = rows.filter(isFirst).sort((a, b) => a.ref - b.ref);
    return [...first, ...rows.filter((row) => !isFirst(row))].slice(0, limit).map((row) => ({
      row: row.ref,
      device: row.holder.device,
      key: row.message.request.key,
      body: row.message.request.body,
      redelivered: row.redelivered,
    }));
  }

  settle(refs: readonly RowRef[]): void {
    for (const ref of refs) {
      const row = this.#rows.get(Number(ref));
      if (row !== undefined) this.#remove(row);
    }
  }

  markSent(refs: readonly RowRef[]): void {
    for (const ref of refs) {
      const row = this.#rows.get(Number(ref));
      if (row !== undefined) row.redelivered = true;
    }
  }

  tail(since: StorePosition, limit: number): { devices: TailEntry[]; now: StorePosition } {
    const found = new Map<string, TailEntry>();
    for (let at = firstAfter(this.#log, since); at < this.#log.length; at++) {
      const { ref, holder } = this.#log[at]!;
      const name = `${holder.user.name}\0${holder.device}`;
      if (!this.#rows.has(ref) || found.has(name)) continue;
      if (found.size === limit) return { devices: [...found.values()], now: ref - 1 };
      found.set(name, { user: holder.user.name, device: holder.device });
    }
    return { devices: [...found.values()], now: this.#lastRef };
  }

  expire(before: Millis): number {
    let dropped = 0;
    for (const row of this.#rows.values()) {
      if (uuidTime(row.message.request.key.id) >= before) continue;
      dropFor(row.holder);
      this.#remove(row);
      dropped++;
    }
    return dropped;
  }

  // Devices

  arrive(arrival: Arrival): ArrivalResult {
    const now = this.#clock.now();
    const user = this.#user(arrival.user);
    let device = user.devices.get(arrival.device);
    let recovered = device === undefined || !isOwedTruth(device, arrival.lastEpoch);
    let wake: ArrivedWake | undefined;
    if (arrival.durable) {
      device = this.#admit(user, arrival.device, now);
      this.#update(device, arrival.protocols, arrival.push);
      if (now - device.seen >= SEEN_INTERVAL_MS) device.seen = now;
      recovered = tell(device, arrival.lastEpoch, arrival.epoch);
      wake = arrivedWake(device, now);
      arriveAt(device, now);
    }
    return {
      ...setOf(user),
      held: Math.min(HELD_COUNT_LIMIT, (device?.rows.size ?? 0) + user.own.rows.size),
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
  ): { setVersion: number; setSize: number } {
    const now = this.#clock.now();
    const user = this.#user(userName);
    const device = this.#admit(user, deviceName, now);
    this.#update(device, protocols, push);
    if (now - device.seen >= SEEN_INTERVAL_MS) device.seen = now;
    return setOf(user);
  }

  unregister(userName: string, deviceName: string): void {
    const device = this.#users.get(userName)?.devices.get(deviceName);
    if (device !== undefined) this.#silence(device);
  }

  /** Makes the device one of the user's durable ones, if it is not. */
  #admit(user: User, name: string, now: Millis): Device {
    const known = user.devices.get(name);
    if (known !== undefined && !known.dormant) return known;

    const others = durableOf(user);
    const device = known ?? newDevice(user, name);
    device.dormant = false;
    device.seen = now;
    user.devices.set(name, device);
    user.setVersion++;
    if (others.length === 0) this.#adopt(user, device);
    if (others.length >= this.#limits.durableDevicesPerUser) {
      this.#makeDormant(longestUnseen(others));
    }
    return device;
  }

  /** The first durable device takes over what belonged to the user alone. */
  #adopt({ own }: User, device: Device): void {
    if (own.rows.size === 0) forgetOutlived(own);
    if (adoptWakes(own, device)) this.#woken.add(device);
    for (const row of own.rows.values()) {
      row.holder = device;
      row.message.rows.delete("");
      row.message.rows.set(device.device, row);
      device.rows.set(row.ref, row);
    }
    own.rows.clear();
  }

  #update(device: Device, protocols: readonly string[], push: PushRegistration | undefined): void {
    const before = device.push;
    if (!update(device, protocols, push) || device.push === before) return;
    if (before !== undefined) this.#registered.delete(registrationOf(before));
    const name = registrationOf(device.push!);
    const other = this.#registered.get(name);
    if (other !== undefined && other !== device) this.#silence(other);
    this.#registered.set(name, device);
  }

  #silence(device: Device): void {
    if (device.push !== undefined) this.#registered.delete(registrationOf(device.push));
    silence(device, this.#clock.now());
  }

  /** Nothing is held for it any more, and what was is dropped. */
  #makeDormant(device: Device): void {
    device.dormant = true;
    markMissed(device);
    this.#drop(device);
  }

  #drop(device: Device): void {
    for (const row of device.rows.values()) this.#remove(row);
    this.#forgetWakes(device);
  }

  forget(userName: string, deviceName: string): { setVersion: number; setSize: number } {
    const user = this.#user(userName);
    const device = user.devices.get(deviceName);
    if (device !== undefined) {
      this.#drop(device);
      this.#silence(device);
      user.devices.delete(deviceName);
      user.setVersion++;
    }
    return setOf(user);
  }

  devices(name: string): { setVersion: number; devices: DeviceRecord[] } {
    const user = this.#users.get(name);
    const devices = [...(user?.devices.values() ?? [])].sort((a, b) =>
      compareText(a.device, b.device),
    );
    return {
      setVersion: user?.setVersion ?? 0,
      devices: devices.map((device) => deviceRecordOf(device)),
    };
  }

  sets(names: readonly string[]): DurableSet[] {
    return names.map((name) => {
      const user = this.#users.get(name);
      return { user: name, ...(user === undefined ? { setVersion: 0, setSize: 0 } : setOf(user)) };
    });
  }

  retire(now: Millis): DurableSet[] {
    const changed: DurableSet[] = [];
    for (const user of this.#users.values()) {
      const lost = durableOf(user).filter((device) => isLost(device, now, this.#limits));
      if (lost.length === 0) continue;
      for (const device of lost) this.#makeDormant(device);
      user.setVersion++;
      changed.push({ user: user.name, ...setOf(user) });
    }
    return changed;
  }

  // Wake intents

  /** Answers whether that made something of the device due now. */
  #wake(holder: Holder, request: HoldRequest, row: RowRef): boolean {
    const { retentionMs } = this.#limits;
    const over = holder.user.own.calls;
    const fell = wakeFor(holder, request, row, over, retentionMs, this.#clock.now());
    if (!isDevice(holder)) return false;
    if (generationOf(holder) !== 0) this.#woken.add(holder);
    return fell;
  }

  #forgetWakes(device: Device): void {
    forgetWakes(device);
    this.#woken.delete(device);
  }

  claim(
    owner: string,
    leaseMs: Millis,
    limit: number,
    except: readonly string[] = [],
  ): WakeIntent[] {
    const now = this.#clock.now();
    const isDue = (device: Device): boolean =>
      device.push !== undefined &&
      !except.includes(device.push.provider) &&
      (dueOf(device) ?? Infinity) <= now;
    const due = [...this.#woken].filter(isDue).sort((a, b) => dueOf(a)! - dueOf(b)!);
    const claimed: WakeIntent[] = [];
    for (const device of due) {
      const room = limit - claimed.length;
      if (room === 0) break;
      const claim = { owner, until: now + leaseMs, retentionMs: this.#limits.retentionMs, room };
      const isHeld = (ref: RowRef): boolean => this.#rows.has(Number(ref));
      const { protocols, push } = device;
      for (const one of claimDue(device, device.rows.size > 0, isHeld, claim, now)) {
        claimed.push({
          user: device.user.name,
          device: device.device,
          ...one,
          protocols,
          push: push!,
        });
      }
      if (generationOf(device) === 0) this.#woken.delete(device);
    }
    return claimed;
  }

  done(
    owner: string,
    outcomes: readonly { user: string; device: string; call: string; outcome: WakeOutcome }[],
  ): void {
    const now = this.#clock.now();
    for (const { user, device: name, call, outcome } of outcomes) {
      const device = this.#users.get(user)?.devices.get(name);
      if (device === undefined || !concludeWake(device, owner, call, outcome, now)) continue;
      if (generationOf(device) === 0) this.#woken.delete(device);
      if (outcome.kind === "gone" && device.push?.token === outcome.token) this.#silence(device);
    }
  }

  end(endings: readonly Ending[]): void {
    for (const ending of endings) this.#end(ending);
  }

  #end(ending: Ending): void {
    const now = this.#clock.now();
    const id = ending.call.toHex();
    for (const { user: name, from } of sidesOf(ending)) {
      const user = this.#users.get(name);
      if (user === undefined) continue;
      for (const holder of [user.own, ...user.devices.values()]) endCall(holder, id, from, now);
      if (user.devices.size > 0) rememberEnd(user.own, id, from, now);
    }
  }

  clear(user: string, name: string, generation: number): number {
    const device = this.#users.get(user)?.devices.get(name);
    const present = device === undefined ? 0 : generationOf(device);
    if (present === 0 || present !== generation || device!.rows.size > 0) return present;
    this.#forgetWakes(device!);
    return 0;
  }

  leave(user: string, name: string): void {
    const device = this.#users.get(user)?.devices.get(name);
    if (device !== undefined) leaveFrom(device, this.#clock.now());
  }

  quiet(userName: string, deviceName: string, conversation: string, until: Millis): boolean {
    const now = this.#clock.now();
    const user = this.#user(userName);
    if (conversation === "") {
      const device = user.devices.get(deviceName);
      if (device !== undefined) quietDevice(device, until, now);
      return device !== undefined;
    }
    mute(user.mutes, conversation, until, now);
    if (until <= now) return true;
    for (const holder of [user.own, ...user.devices.values()]) {
      if (!isMuted(holder.intent, conversation)) continue;
      holder.intent = undefined;
      if (isDevice(holder) && generationOf(holder) === 0) this.#woken.delete(holder);
    }
    return true;
  }

  mutes(user: string): Mute[] {
    return mutesOf(this.#users.get(user)?.mutes ?? [], this.#clock.now());
  }

  nextDue(): Millis | undefined {
    let next = Infinity;
    for (const device of this.#woken) {
      if (device.push !== undefined) next = Math.min(next, dueOf(device) ?? Infinity);
    }
    return next === Infinity ? undefined : Math.max(0, next - this.#clock.now());
  }

  // Ties

  strengthen(changes: readonly TieChange[]): void {
    this.#ties.strengthen(changes);
  }

  circle(user: string, k: number, now: Millis): StoredTie[] {
    return this.#ties.circle(user, k, now).map((tie) => {
      const devices = [...(this.#users.get(tie.peer)?.devices.values() ?? [])];
      const named = namedBy(devices.flatMap(({ intent, calls }) => [intent ?? [], calls].flat()));
      return named === undefined ? tie : { ...tie, named };
    });
  }

  fade(after: string, now: Millis): string {
    return this.#ties.fade(after, now);
  }

  erase(user: string): void {
    this.#ties.erase(user);
  }

  #user(name: string): User {
    let user = this.#users.get(name);
    if (user === undefined) {
      user = {
        name,
        devices: new Map(),
        own: undefined as never,
        mutes: new Map(),
        setVersion: 0,
      };
      Object.assign(user, { own: newHolder(user, "") });
      this.#users.set(name, user);
    }
    return user;
  }
}

function newHolder(user: User, device: string): Holder {
  return {
    user,
    device,
    rows: new Map(),
    generation: 0,
    intent: undefined,
    calls: [],
    quietUntil: 0,
  };
}

function newDevice(user: User, name: string): Device {
  return {
    ...newHolder(user, name),
    protocols: [],
    push: undefined,
    seen: 0,
    goneAt: undefined,
    dormant: false,
    missed: false,
    toldEpoch: undefined,
  };
}

function registrationOf({ provider, token }: PushRegistration): string {
  return `${provider}\0${token}`;
}

/** Identity of a message: the sender, its device and the id. */
function nameOf({ from, fromDevice, id }: MessageKey): string {
  return `${from}\0${fromDevice}\0${String.fromCharCode(...id)}`;
}

function setOf(user: User): { setVersion: number; setSize: number } {
  return { setVersion: user.setVersion, setSize: durableOf(user).length };
}

/** A message for it is one more that its intent speaks for. */
function coalesces(holder: Holder): boolean {
  const isPushedTo = isDevice(holder) && holder.push !== undefined;
  return isPushedTo && holder.rows.size > 0 && holder.intent !== undefined;
}

function isDevice(holder: Holder): holder is Device {
  return holder !== holder.user.own;
}

/** A row of the holder is dropped, or was never made. Where it was the user's own there is nobody to tell. */
function dropFor(holder: Holder): void {
  if (isDevice(holder)) markMissed(holder);
}

function compareText(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

/** Lane by lane, by n; where that says nothing (n = 0) in the order held. */
function inOrder(a: Row, b: Row): number {
  const [x, y] = [a.message.request, b.message.request];
  return (
    compareText(x.key.from, y.key.from) ||
    compareText(x.key.fromDevice, y.key.fromDevice) ||
    x.outbox - y.outbox ||
    compareText(x.to, y.to) ||
    x.n - y.n ||
    a.ref - b.ref
  );
}

/** Index of the first row of the log whose ref is greater than `position`. */
function firstAfter(log: readonly Row[], position: StorePosition): number {
  let low = 0;
  let high = log.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (log[middle]!.ref <= position) low = middle + 1;
    else high = middle;
  }
  return low;
}
