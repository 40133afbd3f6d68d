import type { Millis } from "@beckon/protocol";

import { type Bus, BusTimeout } from "./bus.ts";
import { BadMessage } from "./bytes.ts";
import {
  type ControlRequest,
  controlSubject,
  decodeControlRequest,
  decodeDecisions,
  decodeDeparture,
  decodeDone,
  decodeStatus,
  type Departure,
  type DeviceDecision,
  encodeControlRequest,
  encodeDecisions,
  encodeDeparture,
  encodeDone,
  encodeStatus,
  type ServerStatus,
} from "./control-messages.ts";

export interface ControlParts {
  readonly bus: Bus;
  /** Name of this server. */
  readonly server: string;
  readonly status: () => ServerStatus;
  /** Begins to go; asked again it says the same. */
  readonly drain: () => Departure;
  /** Drops all that names the user; where that rejects the server does not answer. */
  readonly forget: (user: string) => Promise<void>;
  /** The last that this server decided about the device; undefined: nothing. */
  readonly decided: (user: string, device: string) => DeviceDecision | undefined;
}

/** What the operator asks of the servers, through any one of them. */
export interface Control {
  /** Rejects with NobodyListens, BusUnavailable or BusTimeout. */
  status(server: string): Promise<ServerStatus>;
  /** Answers when the server has begun to go. Rejects as `status` does. */
  drain(server: string): Promise<Departure>;
  /** Answers when nothing is left there that names the user as somebody's associate. Rejects as `status` does. */
  forget(server: string, user: string): Promise<void>;
  /** The last that the server decided about each of the devices, in their order. Rejects as `status` does. */
  decisions(
    server: string,
    user: string,
    devices: readonly string[],
  ): Promise<readonly (DeviceDecision | undefined)[]>;
  /** From now on this server does not answer the others. */
  stop(): void;
}

/** How long another server may take to answer. */
const ANSWER_MS: Millis = 2_000;

export function createControl(parts: ControlParts): Control {
  const { bus, server, status, drain, forget, decided } = parts;
  const decisionsOf = (
    user: string,
    devices: readonly string[],
  ): readonly (DeviceDecision | undefined)[] => devices.map((device) => decided(user, device));
  const stop = bus.subscribe(controlSubject(server), (message, reply) => {
    const request = readOr(decodeControlRequest, message);
    switch (request?.kind) {
      case "status":
        reply?.(encodeStatus(status()));
        break;
      case "drain":
        reply?.(encodeDeparture(drain()));
        break;
      case "forget":
        forget(request.user).then(
          () => reply?.(encodeDone()),
          () => undefined,
        );
        break;
      case "decisions":
        reply?.(encodeDecisions(decisionsOf(request.user, request.devices)));
        break;
      case undefined:
    }
  });

  async function ask<T>(
    to: string,
    request: ControlRequest,
    decode: (bytes: Uint8Array) => T,
  ): Promise<T> {
    const answer = await bus.request(controlSubject(to), encodeControlRequest(request), ANSWER_MS);
    const read = readOr(decode, answer);
    if (read === undefined) throw new BusTimeout("it answers what this version cannot read");
    return read;
  }

  return {
    async status(of) {
      return of === server ? status() : ask(of, { kind: "status" }, decodeStatus);
    },
    async drain(which) {
      return which === server ? drain() : ask(which, { kind: "drain" }, decodeDeparture);
    },
    async forget(which, user) {
      if (which === server) await forget(user);
      else await ask(which, { kind: "forget", user }, decodeDone);
    },
    async decisions(of, user, devices) {
      if (of === server) return decisionsOf(user, devices);
      return ask(of, { kind: "decisions", user, devices }, decodeDecisions);
    },
    stop,
  };
}

/** Undefined: it cannot be read. */
function readOr<T>(decode: (bytes: Uint8Array) => T, bytes: Uint8Array): T | undefined {
  try {
    return decode(bytes);
  } catch (error) {
    if (error instanceof BadMessage) return undefined;
    throw error;
  }
}
