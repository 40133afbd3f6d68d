/** Breaks one law each, from outside of the code under test: through its ports, its transport, and one method of a class. */
import { CLOSE, encodeFrames, type Frame, readFrames } from "@beckon/protocol";

import type { ConnectOptions } from "../../packages/client/src/options.ts";
import type { Dial } from "../../packages/client/src/transport.ts";
import {
  decodeDelivery,
  deliverySubject,
  encodeDelivery,
} from "../../packages/server/src/cluster/delivery-messages.ts";
import type { Bus } from "../../packages/server/src/cluster/bus.ts";
import { Connection } from "../../packages/server/src/gateway/connection.ts";
import type { NodeParts } from "../../packages/server/src/node.ts";
import { MemberReading } from "../../packages/server/src/sessions/member-reading.ts";
import { OwnedTable } from "../../packages/server/src/sessions/session-table.ts";
import { SetReading } from "../../packages/server/src/sessions/set-reading.ts";
import { ShownSessions } from "../../packages/server/src/sessions/shown-sessions.ts";
import { Trust } from "../../packages/server/src/sessions/trust.ts";
import type { Store, StorePosition } from "../../packages/server/src/store/store.ts";
import type { Sabotage } from "./delivery.ts";

const DELIVERIES = deliverySubject("");
const WIDE = { messageBytes: 2 ** 30, messageFrames: 2 ** 30 };

/** What is said to be held is only about to be. */
export function ackBeforeCommit(): Sabotage {
  return {
    server: (parts) =>
      withStore(parts, ({ messages, ...others }) => ({
        ...others,
        messages: {
          ...messages,
          hold: (requests) => {
            messages.hold(requests).catch(() => undefined);
            return Promise.resolve(
              requests.map(() => ({
                outcome: "held",
                rows: [{ device: "", row: -1, isNew: true }],
                setVersion: 0,
                setSize: 0,
                due: [],
                coalesced: 0,
              })),
            );
          },
        },
      })),
  };
}

/** No server looks for what others have held. */
export function noTail(): Sabotage {
  return { server: withoutTail };
}

/** And none tells another. */
export function noTailAndNoWatch(): Sabotage {
  return { server: (parts) => withoutKicks(withoutTail(parts)) };
}

/** What servers hold is found by the tail alone, which is as it should be. */
export function noWatch(): Sabotage {
  return { server: withoutKicks };
}

/** And which passes over transactions that began before others and commit after them. */
export function tailThatForgetsOpen(): Sabotage {
  return { server: withoutKicks, postgres: { forgetsOpen: true } };
}

/** The database answers what it has not written. */
export function holdsWithoutDisk(): Sabotage {
  return { postgres: { isAsynchronous: true } };
}

function withoutKicks(parts: NodeParts): NodeParts {
  return withBus(parts, {
    publish: (subject, message) => {
      if (!subject.startsWith(DELIVERIES)) return parts.bus.publish(subject, message);
      const whole = decodeDelivery(message);
      const records = whole.records.filter(({ kind }) => kind !== "kick");
      parts.bus.publish(subject, encodeDelivery({ ...whole, records }));
    },
  });
}

/** To the session table nothing that may have passed it by is a loss: it trusts itself, and reads no sets again. To be undone by the answer. */
export function noLoss(): { readonly sabotage: Sabotage; undo(): void } {
  const [trust, reading] = [Trust.prototype, SetReading.prototype];
  // oxlint-disable-next-line typescript/unbound-method -- they are put back where they were
  const [{ lose }, { begin }] = [trust, reading];
  const isCaughtUp = Object.getOwnPropertyDescriptor(trust, "isCaughtUp")!;
  trust.lose = () => undefined;
  reading.begin = () => undefined;
  Object.defineProperty(trust, "isCaughtUp", { configurable: true, get: () => true });
  return {
    sabotage: {},
    undo: () => {
      trust.lose = lose;
      reading.begin = begin;
      Object.defineProperty(trust, "isCaughtUp", isCaughtUp);
    },
  };
}

/** Every durable device that is connected counts, whether or not it is still one, and nobody asks. To be undone by the answer. */
export function noMembers(): { readonly sabotage: Sabotage; undo(): void } {
  const [shown, reading] = [ShownSessions.prototype, MemberReading.prototype];
  // oxlint-disable-next-line typescript/unbound-method -- they are put back where they were
  const [{ of }, { add }] = [shown, reading];
  shown.of = function (this: ShownSessions, user) {
    return of.call(this, user).map((session) => ({ ...session, member: session.durable }));
  };
  reading.add = () => undefined;
  return {
    sabotage: {},
    undo: () => {
      shown.of = of;
      reading.add = add;
    },
  };
}

function withoutTail(parts: NodeParts): NodeParts {
  return withStore(parts, (store) => ({
    ...store,
    messages: {
      ...store.messages,
      tail: (since: StorePosition) => Promise.resolve({ devices: [], now: since }),
    },
  }));
}

/** The older connection of a device stays open. To be undone by the answer. */
export function noFencing(): { readonly sabotage: Sabotage; undo(): void } {
  // oxlint-disable-next-line typescript/unbound-method -- it is put back where it was
  const { fail } = Connection.prototype;
  Connection.prototype.fail = function (this: Connection, code, ...more) {
    if (code !== "replaced") fail.call(this, code, ...more);
  };
  return {
    sabotage: {},
    undo: () => {
      Connection.prototype.fail = fail;
    },
  };
}

/** Who was told to go elsewhere, and goes, is taken for gone. To be undone by the answer. */
export function goodbyeAfterMove(): { undo(): void } {
  const [connection, table] = [Connection.prototype, OwnedTable.prototype];
  // oxlint-disable-next-line typescript/unbound-method -- they are put back where they were
  const [{ close: closeConnection }, { close: closeEntry }] = [connection, table];
  let isBye = false;
  connection.close = function (this: Connection, code, reason) {
    isBye = code === CLOSE.bye;
    closeConnection.call(this, code, reason);
    isBye = false;
  };
  table.close = function (this: OwnedTable, user, device, epoch, goodbye) {
    closeEntry.call(this, user, device, epoch, goodbye === true || isBye);
  };
  return {
    undo: () => {
      connection.close = closeConnection;
      table.close = closeEntry;
    },
  };
}

/** The read at connect finds nothing: so the device is taken for up to date, and gets what is live. */
export function liveWhileBehind(): Sabotage {
  return {
    server: (parts) =>
      withStore(parts, (store) => {
        const arrived = new Set<string>();
        return {
          ...store,
          devices: {
            ...store.devices,
            arrive: (arrival) => {
              arrived.add(`${arrival.user}/${arrival.device}`);
              return store.devices.arrive(arrival);
            },
          },
          messages: {
            ...store.messages,
            pending: (user, device, limit) =>
              arrived.delete(`${user}/${device}`)
                ? Promise.resolve([])
                : store.messages.pending(user, device, limit),
          },
        };
      }),
  };
}

/** The SDK sees no message that has another before it. */
export function noResequencing(): Sabotage {
  return { device: (options) => withTransports(options, withoutOrder) };
}

/** An SDK that goes on elsewhere does not send again what was not answered. */
export function noRepeatsAfterMove(): Sabotage {
  return { device: (options) => withTransports(options, createForgetful()) };
}

/** The SDK never says that it is not to be redirected. */
export function alwaysRedirected(): Sabotage {
  return { device: (options) => withTransports(options, withoutNoRedirect) };
}

function withTransports(options: ConnectOptions, alter: (dial: Dial) => Dial): ConnectOptions {
  const { transports = {} } = options;
  const altered = Object.entries(transports).map(([protocol, dial]) => [protocol, alter(dial)]);
  return { ...options, transports: Object.fromEntries(altered) as typeof transports };
}

function withoutNoRedirect(dial: Dial): Dial {
  return (address, handler) => {
    const transport = dial(address, handler);
    const send = (bytes: Uint8Array): void => {
      const frames = framesOf(bytes);
      const [first] = frames;
      if (first?.type === "hello") frames[0] = { ...first, noRedirect: false };
      transport.send(encodeFrames(frames));
    };
    return { ...transport, send };
  };
}

/** Of one process of a device: beside an open transport another one carries no SEND that was written before. */
function createForgetful(): (dial: Dial) => Dial {
  const open = new Set<object>();
  const written = new Set<string>();
  return (dial) => (address, handler) => {
    const self = {};
    let isMove = false;
    let sends = 0;
    /** The device's numbers of those that went out. */
    const numbers = [0];
    const transport = dial(address, {
      opened: () => handler.opened(),
      closed(code, reason) {
        open.delete(self);
        handler.closed(code, reason);
      },
      message(bytes) {
        const frames = framesOf(bytes).flatMap((frame): Frame[] => {
          if (frame.type === "ack") {
            const answered = numbers.slice(frame.send, frame.send + frame.count);
            return answered.map((send) => ({ ...frame, send, count: 1 }));
          }
          return [frame.type === "error" ? { ...frame, send: numbers[frame.send] ?? 0 } : frame];
        });
        handler.message(encodeFrames(frames));
      },
    });
    const isToGo = (frame: Frame): boolean => {
      if (frame.type === "hello") {
        isMove = open.size > 0;
        open.add(self);
      }
      if (frame.type !== "send") return true;
      sends += 1;
      const id = frame.id.toHex();
      if (isMove && written.has(id)) return false;
      written.add(id);
      numbers.push(sends);
      return true;
    };
    return {
      ...transport,
      send(bytes) {
        const frames = framesOf(bytes).filter(isToGo);
        if (frames.length > 0) transport.send(encodeFrames(frames));
      },
      close() {
        open.delete(self);
        transport.close();
      },
    };
  };
}

function framesOf(bytes: Uint8Array): Frame[] {
  const frames: Frame[] = [];
  readFrames(bytes, WIDE, (frame) => {
    if (frame.type !== "unknown") frames.push(frame);
  });
  return frames;
}

function withoutOrder(dial: Dial): Dial {
  return (address, handler) =>
    dial(address, {
      opened: () => handler.opened(),
      closed: (code, reason) => handler.closed(code, reason),
      message: (bytes) => {
        const frames = framesOf(bytes).map((frame): Frame =>
          frame.type === "deliver" ? { ...frame, prev: 0 } : frame,
        );
        handler.message(encodeFrames(frames));
      },
    });
}

/** A wake intent that is 3 s old counts as done. */
export function intentsEndByTime(): Sabotage {
  const LIFE_MS = 3_000;
  /** When each device's intent was made, by the servers' clocks. */
  const made = new Map<string, number>();
  return {
    server: (parts) =>
      withStore(parts, (store) => ({
        ...store,
        messages: {
          ...store.messages,
          hold: (requests) => {
            const now = parts.clock.now();
            return store.messages.hold(requests).then((results) => {
              for (const [index, result] of results.entries()) {
                if (result.outcome !== "held") continue;
                for (const { device } of result.rows) {
                  const name = `${requests[index]!.user}/${device}`;
                  if (!made.has(name)) made.set(name, now);
                }
              }
              return results;
            });
          },
        },
        devices: {
          ...store.devices,
          arrive: (arrival) => {
            made.delete(`${arrival.user}/${arrival.device}`);
            return store.devices.arrive(arrival);
          },
        },
        wakes: {
          ...store.wakes,
          claim: async (owner, leaseMs, limit) => {
            const intents = await store.wakes.claim(owner, leaseMs, limit);
            const isOld = (user: string, device: string): boolean =>
              parts.clock.now() - (made.get(`${user}/${device}`) ?? Infinity) > LIFE_MS;
            const old = intents.filter(({ user, device }) => isOld(user, device));
            const outcome = { kind: "sent" } as const;
            await store.wakes.done(
              owner,
              old.map(({ user, device, call }) => ({ user, device, call, outcome })),
            );
            return intents.filter((intent) => !old.includes(intent));
          },
        },
      })),
  };
}

/** No server tells the store that a call is over. */
export function noEnds(): Sabotage {
  return {
    server: (parts) =>
      withStore(parts, (store) => ({
        ...store,
        messages: {
          ...store.messages,
          hold: (requests) =>
            store.messages.hold(requests.map((one) => ({ ...one, ends: new Uint8Array() }))),
        },
        wakes: { ...store.wakes, end: () => Promise.resolve() },
      })),
  };
}

/** A call is a message like any other. */
export function noRinging(): Sabotage {
  return {
    server: (parts) =>
      withStore(parts, (store) => ({
        ...store,
        messages: {
          ...store.messages,
          hold: (requests) =>
            store.messages.hold(
              requests.map((one) => ({ ...one, wake: { ...one.wake, rings: 0 } })),
            ),
        },
      })),
  };
}

function withBus(parts: NodeParts, altered: Partial<Bus>): NodeParts {
  const { bus } = parts;
  return {
    ...parts,
    bus: {
      get up() {
        return bus.up;
      },
      publish: (subject, message) => bus.publish(subject, message),
      subscribe: (subject, handler) => bus.subscribe(subject, handler),
      request: (subject, message, ms) => bus.request(subject, message, ms),
      onLink: (listener) => bus.onLink(listener),
      close: () => bus.close(),
      ...altered,
    },
  };
}

function withStore(parts: NodeParts, alter: (store: Store) => Store): NodeParts {
  return { ...parts, store: alter(parts.store) };
}
