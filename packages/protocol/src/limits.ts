import type { Limits, Millis } from "./frames.ts";

import { utf8Length } from "./utf8.ts";

const SECOND = 1000;
const DAY = 86_400 * SECOND;

/** [P-12.1] Every bound that the protocol knows. All are inclusive. */
export interface ProtocolLimits extends Limits {
  /**
   * UTF-8 bytes of a SEND's preview: with the hint around it, sealed and in base64url, it fits the
   * 4 KB of a push.
   */
  readonly preview: number;
  /** Bytes of the message that carries HELLO: all that a stranger can make a server read. */
  readonly helloBytes: number;
  /** UTF-8 bytes of a user's id. */
  readonly userId: number;
  /** UTF-8 bytes of a device's id. */
  readonly deviceId: number;
  /** Durable devices of a user; one more makes the longest unseen dormant. */
  readonly durableDevices: number;
  readonly groupMembers: number;
  /** Messages held for one device. */
  readonly heldPerDevice: number;
  /** Age of a message id. */
  readonly idAge: Millis;
  /** How far a message id's time may be ahead of the server's. */
  readonly idAhead: Millis;

  /** From the open connection to HELLO. */
  readonly helloTimeout: Millis;
  /** Silence after which the device sends PING. */
  readonly heartbeat: Millis;
  /** From PING to PONG. */
  readonly pongTimeout: Millis;
  /** Silence after which the server closes. */
  readonly idle: Millis;
  /** Law L6: time without an acknowledgement, in which the server was reading. */
  readonly acknowledge: Millis;
  /** How long before its end a connection hears `token-expiring`. */
  readonly tokenExpiring: Millis;

  /** Messages of one lane that a receiver buffers behind a hole. */
  readonly laneBuffer: number;
  /** How long a receiver waits for a hole to be filled. */
  readonly gap: Millis;
  /** Ids by which repeats of messages without a lane are known. */
  readonly recentIds: number;
  /** How long a call rings, from its acceptance. */
  readonly ring: Millis;
}

/**
 * The defaults. A server may be configured otherwise in what WELCOME tells; the rest is part of the
 * protocol. `messageBytes` is fifteen of the largest SENDs, so that one turn's frames go out
 * together, and no more than this must be in memory before the first of them can be judged;
 * `messageFrames` bounds the work of one turn.
 */
export const LIMITS: ProtocolLimits = {
  payload: 64 * 1024,
  messageBytes: 1024 * 1024,
  messageFrames: 1024,
  inFlight: 256,
  window: 256,
  rate: 200,
  burst: 1000,
  preview: 1024,
  helloBytes: 16 * 1024,
  userId: 128,
  deviceId: 64,
  durableDevices: 16,
  groupMembers: 1024,
  heldPerDevice: 10_000,
  idAge: 7 * DAY,
  idAhead: DAY,
  helloTimeout: 5 * SECOND,
  heartbeat: 25 * SECOND,
  pongTimeout: 5 * SECOND,
  idle: 60 * SECOND,
  acknowledge: 10 * SECOND,
  tokenExpiring: 60 * SECOND,
  laneBuffer: 256,
  gap: 5 * SECOND,
  recentIds: 1024,
  ring: 30 * SECOND,
};

/** [P-12.2] A user id: 1 to 128 bytes of UTF-8 without control characters. */
export function validUserId(id: string): boolean {
  return validId(id, LIMITS.userId);
}

/** [P-12.3] A device id: 1 to 64 bytes of UTF-8 without control characters. */
export function validDeviceId(id: string): boolean {
  return validId(id, LIMITS.deviceId);
}

function validId(id: string, bytes: number): boolean {
  // UTF-16 never has more units than UTF-8 has bytes: a giant is refused unread.
  if (id.length === 0 || id.length > bytes) return false;
  return isPrintableAscii(id) || (!UNFIT.test(id) && utf8Length(id) <= bytes);
}

/** As nearly all ids are; a test of each unit costs less than the expression. */
function isPrintableAscii(id: string): boolean {
  for (let i = 0; i < id.length; i++) {
    const unit = id.charCodeAt(i);
    if (unit < 0x20 || unit > 0x7e) return false;
  }
  return true;
}

/** Control characters (C0, DEL, C1), and halves of surrogate pairs, which UTF-8 cannot say. */
const UNFIT = /[\p{Cc}\p{Cs}]/u;
