/**
 * Tickets: what a token said, under a MAC by the cluster's key, so that a reconnect to any server costs a hash instead of a
 * signature. A ticket is no secret from its own device; whoever steals one can be that device until the token expires.
 */
import { createHmac, timingSafeEqual } from "node:crypto";

import { BadToken, type Identity, type Tickets } from "./identity.ts";

/** Bytes of a ticket; it is kept by the device, and sent in each HELLO. */
export const LONGEST_TICKET = 1024;

/*
 * version (1) · MAC (32) · expiry, ms (6) · length (1) and user · length (1) and device ·
 * number of users in the token's list (2), NO_LIST for none · length (1) and user, each
 */
const VERSION = 1;
const MAC = 32;
const SIGNED = 1 + MAC;
const LATEST = 2 ** 48 - 1;
const NO_LIST = 0xffff;

/** `key`: the same 32 bytes on every server of the cluster. */
export function createTickets(key: Uint8Array): Tickets {
  const scratch = Buffer.alloc(LONGEST_TICKET);

  /** Of the version and of all that follows the MAC. */
  const macOf = (ticket: Uint8Array): Uint8Array =>
    createHmac("sha256", key)
      .update(ticket.subarray(0, 1))
      .update(ticket.subarray(SIGNED))
      .digest();

  return {
    issue(identity, device) {
      const end = write(scratch, identity, device);
      // A list that is too long for a ticket must not be lost on the way: the device comes back with its token.
      if (end === 0) return new Uint8Array(0);
      const ticket = Uint8Array.prototype.slice.call(scratch, 0, end);
      ticket.set(macOf(ticket), 1);
      return ticket;
    },
    check(ticket, device, now) {
      const isOurs =
        ticket.length > SIGNED &&
        ticket.length <= LONGEST_TICKET &&
        ticket[0] === VERSION &&
        timingSafeEqual(macOf(ticket), ticket.subarray(1, SIGNED));
      if (!isOurs) throw new BadToken("bad-token", "the ticket is not one of this cluster");
      const identity = read(ticket);
      if (identity.device !== device) {
        throw new BadToken("bad-token", "the ticket is for another device");
      }
      if (identity.expires <= now) {
        throw new BadToken(
          "token-expired",
          "the token that the ticket stands for is past its expiry",
        );
      }
      return identity;
    },
  };
}

/** Everything but the MAC. Answers the length, 0 when it does not fit. */
function write(into: Buffer, identity: Identity, device: string): number {
  into[0] = VERSION;
  into.writeUIntBE(Math.min(Math.floor(identity.expires), LATEST), SIGNED, 6);
  let at = writeText(into, SIGNED + 6, identity.user);
  at = writeText(into, at, device);
  const list = identity.mayWriteTo;
  // The shortest entry has two bytes.
  if (at + 2 + 2 * (list?.length ?? 0) > into.length) return 0;
  at = into.writeUInt16BE(list?.length ?? NO_LIST, at);
  for (const user of list ?? []) {
    if (at + 1 + Buffer.byteLength(user) > into.length) return 0;
    at = writeText(into, at, user);
  }
  return at;
}

/** Ids have 128 bytes at most. */
function writeText(into: Buffer, at: number, text: string): number {
  const length = into.write(text, at + 1);
  into[at] = length;
  return at + 1 + length;
}

/** Only of a ticket whose MAC is right: it has the form that `write` gave it. */
function read(ticket: Uint8Array): Identity {
  const from = Buffer.from(ticket.buffer, ticket.byteOffset, ticket.byteLength);
  let at = SIGNED + 6;
  const text = (): string => {
    const start = at + 1;
    at = start + from[at]!;
    return from.toString("utf8", start, at);
  };
  const user = text();
  const device = text();
  const count = from.readUInt16BE(at);
  at += 2;
  const mayWriteTo = count === NO_LIST ? undefined : Array.from({ length: count }, text);
  return { user, device, expires: from.readUIntBE(SIGNED, 6), mayWriteTo };
}
