/** L9, B1, B2: devices that a server sends elsewhere, by REDIRECT, MOVE or DRAIN. What is said of it here, every connection has to keep. */
import { CLOSE } from "@beckon/protocol";

import type { Facts } from "../facts.ts";
import type { ConnectionName, DeviceName, HistoryEvent, Sending } from "../history.ts";
import type { Fault, Law, Violation } from "../violation.ts";

/** How long after a message of a call there may be one: for so long nobody who takes part in it is moved. */
const CALL_MS = 120_000;
/** So long a push is opened, at most, before the attempt under way begins anew. */
const OPENING_MS = 1_500;

export interface Elsewhere {
  readonly violations: readonly Violation[];
  /** Connects that were told to go elsewhere. */
  readonly redirects: number;
  /** Devices that were connected, and went where MOVE told them to. */
  readonly moves: number;
}

/** A transport on which HELLO was said, until the device has closed it. */
interface Transport {
  readonly name: ConnectionName;
  readonly noRedirect: boolean;
  isOnline: boolean;
  /** What it has read. */
  heard: Sending | undefined;
}

/** A transport was opened beside the one on which the device was connected. */
interface Going {
  readonly from: ConnectionName;
  readonly to: ConnectionName;
  readonly by: Sending;
  /** The application has been told of something else than `connected` since. */
  hasShown: string | undefined;
  /** The end of the connection before is explanation enough. */
  hasLost: boolean;
}

interface Device {
  readonly open: Map<ConnectionName, Transport>;
  going: Going | undefined;
  /** When it read REDIRECT, while its attempt goes on. */
  redirected: number | undefined;
  /** When a push has reached it last: an attempt that is under way begins anew. */
  opened: number;
  /** When it read or wrote a message of a call last, in this life. */
  called: number;
}

export function checkElsewhere(facts: Facts): Elsewhere {
  const checker = new Checker(facts);
  for (const event of facts.history) checker.take(event);
  return checker;
}

class Checker implements Elsewhere {
  readonly violations: Violation[] = [];
  redirects = 0;
  moves = 0;
  readonly #facts: Facts;
  readonly #devices = new Map<DeviceName, Device>();
  /** HELLOs that asked not to be redirected. */
  readonly #staying = new Set<ConnectionName>();

  constructor(facts: Facts) {
    this.#facts = facts;
  }

  take(event: HistoryEvent): void {
    switch (event.kind) {
      case "greeted":
        this.#greeted(event);
        break;
      case "told":
        this.#told(event);
        break;
      case "heard":
        this.#heard(event);
        break;
      case "online":
        this.#online(event);
        break;
      case "closed":
        if (event.side === "device") this.#closed(event);
        break;
      case "state":
        this.#state(event);
        break;
      case "arrived":
      case "transmitted":
        if (this.#isOfCall(event.message)) this.#device(event.device).called = event.at;
        break;
      case "started":
        this.#devices.delete(event.device);
        break;
      case "opened":
        this.#device(event.device).opened = event.at;
        break;
      default:
    }
  }

  #device(name: DeviceName): Device {
    let device = this.#devices.get(name);
    if (device === undefined) {
      const never = { opened: -Infinity, called: -Infinity };
      device = { open: new Map(), going: undefined, redirected: undefined, ...never };
      this.#devices.set(name, device);
    }
    return device;
  }

  #isOfCall(message: string): boolean {
    const sent = this.#facts.messages.get(message)?.sent;
    return sent !== undefined && (sent.wake === "call" || sent.ends !== undefined);
  }

  #greeted(event: Extract<HistoryEvent, { kind: "greeted" }>): void {
    const { connection, noRedirect, background, at } = event;
    const device = this.#device(event.device);
    if (noRedirect) this.#staying.add(connection);
    const { redirected = -Infinity, opened } = device;
    if (redirected - OPENING_MS > opened && !noRedirect) {
      this.#violates(event, "L9", "redirected twice", "was redirected, and would be again");
    }
    const [before, ...more] = device.open.values();
    device.open.set(connection, {
      name: connection,
      noRedirect,
      isOnline: false,
      heard: undefined,
    });
    if (before === undefined) return;
    const by = before.heard;
    if (more.length > 0 || by === undefined || !before.isOnline) {
      const says = `said HELLO on ${connection} beside ${[before, ...more].map(({ name }) => name).join(", ")}, and was not moved`;
      this.#violates(event, "L6", "beside", says);
      return;
    }
    if (!noRedirect)
      this.#violates(event, "L9", "redirected twice", "is moved, and would be again");
    if (by === "move" && background) {
      this.#violates(event, "B2", "moved in the way", "was moved in the background");
    }
    if (by === "move" && at - device.called < CALL_MS && !this.#facts.hasJumped) {
      this.#violates(event, "B2", "moved in the way", "was moved during a call");
    }
    const from = before.name;
    device.going = { from, to: connection, by, hasShown: undefined, hasLost: false };
  }

  #told(event: Extract<HistoryEvent, { kind: "told" }>): void {
    if (event.by !== "redirect") return;
    this.redirects += 1;
    if (!this.#staying.has(event.connection)) return;
    this.#violates(event, "L9", "redirected twice", "was redirected though it said no_redirect");
  }

  #heard({ device: name, connection, by, at }: Extract<HistoryEvent, { kind: "heard" }>): void {
    const device = this.#device(name);
    if (by === "redirect") device.redirected = at;
    const transport = device.open.get(connection);
    // Who is told to leave may be told so in the middle of a move.
    if (transport !== undefined && by !== "redirect") transport.heard = by;
  }

  #online(event: Extract<HistoryEvent, { kind: "online" }>): void {
    const device = this.#device(event.device);
    device.redirected = undefined;
    const transport = device.open.get(event.connection);
    if (transport !== undefined) transport.isOnline = true;
    const { going } = device;
    if (going?.to !== event.connection) return;
    device.going = undefined;
    if (going.by === "move") this.moves += 1;
    if (going.hasShown === undefined || going.hasLost) return;
    const says = `was moved, and its application saw that it was ${going.hasShown}`;
    this.#violates(event, "B2", "seen", says);
  }

  #closed(event: Extract<HistoryEvent, { kind: "closed" }>): void {
    const device = this.#device(event.device);
    device.open.delete(event.connection);
    const { going } = device;
    if (going === undefined) return;
    if (going.to === event.connection) device.going = undefined;
    else if (going.from === event.connection && event.code !== CLOSE.replaced) going.hasLost = true;
  }

  #state({ device: name, name: state }: Extract<HistoryEvent, { kind: "state" }>): void {
    const device = this.#device(name);
    if (state === "waiting") device.redirected = undefined;
    if (state !== "connected" && device.going !== undefined) device.going.hasShown ??= state;
  }

  #violates(
    { device, at }: { readonly device: DeviceName; readonly at: number },
    law: Law,
    fault: Fault,
    says: string,
  ): void {
    const devices = [device];
    this.violations.push({ law, fault, says: `${device} ${says}`, at, messages: [], devices });
  }
}
