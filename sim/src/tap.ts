/** Listens on the wire between a device and a server, and records what is said in the protocol's own words. */
import { errorByNumber, type Frame, readFrames, type UnknownFrame } from "@beckon/protocol";

import type { ConnectionName, DeviceName, MessageName } from "./history.ts";
import type { World } from "./world.ts";

const WIDE = { messageBytes: 2 ** 30, messageFrames: 2 ** 30 };
const decoder = new TextDecoder();

/** A payload begins with the message's name; padding may follow after a space. */
export function nameOf(payload: Uint8Array): MessageName {
  const text = decoder.decode(payload);
  const end = text.indexOf(" ");
  return end < 0 ? text : text.slice(0, end);
}

export class Tap {
  readonly #world: World;
  readonly #connection: ConnectionName;
  readonly #device: DeviceName;
  readonly #server: string;
  /** Names by the number that SENDs and DELIVERs have on this connection, from 1. */
  readonly #sends: MessageName[] = [""];
  readonly #delivers: MessageName[] = [""];
  #isGreeted = false;
  #end: number | undefined;
  #durable = false;
  #background = false;

  constructor(world: World, connection: ConnectionName, device: DeviceName, server: string) {
    this.#world = world;
    this.#connection = connection;
    this.#device = device;
    this.#server = server;
  }

  /** The device has said HELLO. */
  get isGreeted(): boolean {
    return this.#isGreeted;
  }

  /** The close code of the ERROR that the device has read, if one. */
  get end(): number | undefined {
    return this.#end;
  }

  /** The device has written a message of the transport. */
  up(bytes: Uint8Array): void {
    readFrames(bytes, WIDE, (frame) => this.#up(frame));
  }

  #up(frame: Frame | UnknownFrame): void {
    const device = this.#device;
    switch (frame.type) {
      case "hello":
        this.#isGreeted = true;
        this.#durable = frame.durable || frame.push !== undefined;
        this.#background = frame.background;
        this.#world.record({
          kind: "greeted",
          device,
          connection: this.#connection,
          server: this.#server,
          noRedirect: frame.noRedirect,
          background: frame.background,
        });
        break;
      case "send": {
        const message = nameOf(frame.payload);
        this.#sends.push(message);
        this.#world.transmitted(message, frame.id);
        this.#world.record({ kind: "transmitted", message, device });
        break;
      }
      case "received":
        for (let i = 0; i + 1 < frame.ranges.length; i += 2) {
          const first = frame.ranges[i]!;
          for (let number = first; number < first + frame.ranges[i + 1]!; number += 1) {
            const message = this.#delivers[number];
            if (message !== undefined) this.#world.record({ kind: "received", message, device });
          }
        }
        break;
      case "state":
        this.#world.record({ kind: "background", device, value: frame.background });
        break;
      default:
    }
  }

  /** The server has written one. Answers what is to be recorded when the device reads it. */
  down(bytes: Uint8Array): readonly Frame[] {
    const notable: Frame[] = [];
    readFrames(bytes, WIDE, (frame) => {
      if (this.#down(frame)) notable.push(frame as Frame);
    });
    return notable;
  }

  #down(frame: Frame | UnknownFrame): boolean {
    const [device, connection, server] = [this.#device, this.#connection, this.#server];
    switch (frame.type) {
      case "welcome":
        this.#world.record({
          kind: "welcomed",
          device,
          connection,
          server,
          epoch: frame.epoch,
          durable: this.#durable,
          recovered: frame.recovered,
        });
        return true;
      case "ack":
        for (let send = frame.send; send < frame.send + Math.max(1, frame.count); send += 1) {
          const message = this.#sends[send] ?? `unknown SEND ${send}`;
          const { status, route } = frame;
          this.#world.record({ kind: "acked", message, device, server, status, route });
        }
        return false;
      case "error": {
        const message = frame.send > 0 ? this.#sends[frame.send] : undefined;
        const error = errorByNumber(frame.code);
        if (message !== undefined && error?.retryable === false) {
          this.#world.record({ kind: "denied", message, device, code: error.code });
        }
        return frame.send === 0;
      }
      case "deliver": {
        const message = nameOf(frame.payload);
        this.#delivers.push(message);
        const { held } = frame;
        this.#world.record({ kind: "delivered", message, device, connection, held });
        return true;
      }
      case "redirect":
      case "move":
      case "drain": {
        const servers = frame.type === "drain" ? frame.servers : [frame.server];
        const to = servers.map(({ name }) => name);
        this.#world.record({ kind: "told", device, connection, server, by: frame.type, to });
        return true;
      }
      default:
        return false;
    }
  }

  /** The device reads what `down` has found notable. */
  read(frames: readonly Frame[]): void {
    const [device, connection] = [this.#device, this.#connection];
    for (const frame of frames) {
      if (frame.type === "deliver") {
        this.#world.record({ kind: "arrived", message: nameOf(frame.payload), device });
      } else if (frame.type === "welcome") {
        const background = this.#background;
        this.#world.record({ kind: "online", device, connection, background });
      } else if (frame.type === "redirect" || frame.type === "move" || frame.type === "drain") {
        this.#world.record({ kind: "heard", device, connection, by: frame.type });
      } else if (frame.type === "error") {
        this.#end ??= errorByNumber(frame.code)?.closes;
      }
    }
  }
}
