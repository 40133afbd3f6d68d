import { CLOSE, ERRORS, MEANINGS, ProtocolError, readFrames, validUserId } from "@beckon/protocol";
import type {
  AckStatus,
  ConnectionErrorCode,
  ErrorCode,
  Frame,
  HelloFrame,
  MessageLimits,
  Millis,
  QuietFrame,
  Route,
  SendErrorCode,
  SendFrame,
  ServerAddresses,
  UnknownFrame,
} from "@beckon/protocol";

import type { Origin, Reply } from "../delivery/message.ts";
import type { DeliverSink, Recipient } from "../delivery/recipient.ts";
import type { GatewayParts } from "./gateway.ts";
import { shakeHands } from "./handshake.ts";
import { BadToken } from "./identity.ts";
import type { Identity } from "./identity.ts";
import { Outgoing } from "./outgoing.ts";
import type { WriterPool } from "./outgoing.ts";
import { faultOf, RefusedLanes, SendRate } from "./send.ts";
import type { Socket, SocketHandler } from "./socket.ts";

/** Bytes in the socket's buffer over which nothing more is delivered; and over which the connection is closed. */
const CONGESTED_BYTES = 1024 * 1024;
const SLOW_BYTES = 16 * 1024 * 1024;

/** SENDs that a device which is moved may wait for: what is not answered in time it sends again. */
const CALM = 8;

/** How often the store hears that a device is still connected. */
const SEEN_MS = 24 * 3600 * 1000;
/** Later than every WELCOME: what the device has missed stays to be told. */
const NO_WELCOME = Number.MAX_SAFE_INTEGER;

/** What a handshake has found out. */
export interface Session {
  readonly identity: Identity;
  readonly device: string;
  readonly epoch: number;
  readonly protocols: readonly string[];
  readonly recipient: Recipient;
  readonly origin: Origin;
}

/** A SEND that waits for the application to say whether it may be sent. */
interface Unauthorized {
  readonly send: SendFrame;
  readonly number: number;
}

/** One device's connection: from its socket's first byte to its last. */
export class Connection implements SocketHandler, Reply, DeliverSink {
  readonly #parts: GatewayParts;
  readonly #socket: Socket;
  readonly #out: Outgoing;
  /** Undefined: HELLO has come. */
  #cancelHello: (() => void) | undefined;
  #stage: "hello" | "handshake" | "open" | "closed" = "hello";
  /** The device said that it goes. */
  #goodbye = false;
  /** It was told to go elsewhere, by MOVE or DRAIN. */
  #isSent = false;
  #session: Session | undefined;
  #identity: Identity | undefined;
  #expiryTold = false;
  /** Monotonic ms at which the store was told last that the device is here. */
  #seen: number;
  /** Monotonic ms of the last message. */
  #heard: number;
  #sends = 0;
  #unanswered = 0;
  #pulls = 0;
  #quiets = 0;
  /** One of them is on its way to the store. */
  #isQuieting = false;
  #isForgetting = false;
  #rate: SendRate | undefined;
  #refused: RefusedLanes | undefined;
  /** By recipient: what waits, in order. */
  #unauthorized: Map<string, Unauthorized[]> | undefined;

  constructor(parts: GatewayParts, writers: WriterPool, socket: Socket) {
    this.#parts = parts;
    this.#socket = socket;
    this.#out = new Outgoing(writers, socket, this);
    this.#heard = parts.clock.monotonic();
    this.#seen = this.#heard;
    this.#cancelHello = parts.clock.after(parts.limits.helloTimeout, () =>
      this.fail("hello-timeout"),
    );
  }

  get open(): boolean {
    return this.#stage === "open";
  }

  /** Whose connection it is, once it is welcome. */
  get user(): string | undefined {
    return this.#session?.identity.user;
  }

  get device(): string | undefined {
    return this.#session?.device;
  }

  get isClosed(): boolean {
    return this.#stage === "closed";
  }

  // ── From the socket ───────────────────────────────────────────────────────────────────────────

  message(bytes: Uint8Array): void {
    if (this.#stage === "closed") return;
    this.#heard = this.#parts.clock.monotonic();
    try {
      // Made anew each time: of many connections few are read from, and each would keep its own.
      readFrames(bytes, this.limits, (frame) => this.#frame(frame));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.malformed(error);
    }
  }

  /** [P-1.5] */
  get limits(): MessageLimits {
    return this.#stage === "open" ? this.#parts.limits : this.#parts.helloLimits;
  }

  malformed({ code, message }: ProtocolError): void {
    this.fail(code, message);
  }

  drained(): void {
    this.#out.buffered = this.#socket.buffered();
    this.#session?.recipient.drained();
  }

  closed(): void {
    if (this.#stage === "closed") return;
    this.#leave();
  }

  /** One switch over what a device may say. */
  #frame(frame: Frame | UnknownFrame): void {
    if (this.#stage !== "open") {
      this.#early(frame);
      return;
    }
    switch (frame.type) {
      case "send":
        this.#send(frame);
        return;
      case "received":
        this.#received(frame.ranges);
        return;
      case "ping":
        this.#out.frame({ type: "pong", time: this.#parts.clock.now() });
        return;
      case "pull":
        this.#session!.recipient.pull(++this.#pulls);
        return;
      case "state":
        this.#setBackground(frame.background);
        return;
      case "auth":
        this.#authenticate(frame.token);
        return;
      case "bye":
        // [P-8.8]
        this.#goodbye = !this.#isSent;
        this.close(CLOSE.bye, "bye");
        return;
      case "quiet":
        this.#quiet(frame);
        return;
      case "forget":
        this.#forget();
        return;
      case "unknown":
        this.#error("unsupported", `frame ${frame.field} is not known here`);
        return;
      default:
        this.fail("bad-frame", `${frame.type} is not for a device to send`);
    }
  }

  #early(frame: Frame | UnknownFrame): void {
    if (this.#stage === "closed") return;
    if (frame.type === "bye") {
      this.close(CLOSE.bye, "bye");
      return;
    }
    if (this.#stage !== "hello" || frame.type !== "hello") {
      this.fail("hello-expected", `${frame.type} came before WELCOME`);
      return;
    }
    this.#stage = "handshake";
    this.#cancelHello?.();
    this.#cancelHello = undefined;
    void this.#welcome(frame);
  }

  async #welcome(hello: HelloFrame): Promise<void> {
    const outcome = await shakeHands(this.#parts, this, hello, () => this.#stage === "handshake");
    if (this.#stage !== "handshake") return;
    if ("refused" in outcome) {
      this.fail(outcome.refused, outcome.why);
      return;
    }
    if ("redirect" in outcome) {
      this.#out.frame(outcome.redirect);
      this.close(CLOSE.redirected, "redirected");
      return;
    }
    const { limits, clock } = this.#parts;
    this.#stage = "open";
    this.#session = outcome.session;
    this.#identity = outcome.session.identity;
    this.#rate = new SendRate(limits.rate, limits.burst, clock.monotonic());
    this.#out.frame(outcome.welcome);
    outcome.session.recipient.start();
  }

  // ── What a device says ────────────────────────────────────────────────────────────────────────

  /** A SEND, step by step: number, window, rate, form, lane, authorisation, acceptance. */
  #send(send: SendFrame): void {
    const number = ++this.#sends;
    const { limits, clock } = this.#parts;
    if (++this.#unanswered > limits.window) {
      this.#refuseSend(send, number, "window-exceeded");
      return;
    }
    const wait = this.#rate!.take(this.#heard);
    if (wait > 0) {
      this.#refuseSend(send, number, "rate-limited", wait);
      return;
    }
    const now = clock.now();
    const fault = faultOf(send, this.#identity!.user, limits, now);
    if (fault !== undefined) {
      this.#refuseSend(send, number, fault);
      return;
    }
    if (this.#refused !== undefined && send.n > 0 && !this.#refused.admits(send)) {
      this.#refuseSend(send, number, "out-of-order");
      return;
    }
    this.#authorize(send, number, now);
  }

  #authorize(send: SendFrame, number: number, now: Millis): void {
    const queue = this.#unauthorized?.get(send.to);
    if (queue !== undefined) {
      queue.push({ send, number });
      return;
    }
    let answer: boolean | Promise<boolean>;
    try {
      answer = this.#parts.authorize(this.#identity!, send.to);
    } catch {
      this.#refuseSend(send, number, "authorizer-unavailable");
      return;
    }
    if (typeof answer === "boolean") {
      this.#authorized(send, number, answer, now);
      return;
    }
    this.#unauthorized ??= new Map();
    this.#unauthorized.set(send.to, [{ send, number }]);
    answer.then(
      (allowed) => this.#answered(send.to, allowed),
      () => this.#answered(send.to, undefined),
    );
  }

  /** The application's answer is for all that waits for this recipient; nothing that came later overtook it. */
  #answered(to: string, allowed: boolean | undefined): void {
    const queue = this.#unauthorized?.get(to) ?? [];
    this.#unauthorized?.delete(to);
    if (this.#stage !== "open") return;
    for (const { send, number } of queue) {
      if (this.#refused !== undefined && send.n > 0 && !this.#refused.admits(send)) {
        this.#refuseSend(send, number, "out-of-order");
      } else if (allowed === undefined) {
        this.#refuseSend(send, number, "authorizer-unavailable");
      } else {
        this.#authorized(send, number, allowed, this.#parts.clock.now());
      }
    }
  }

  #authorized(send: SendFrame, number: number, allowed: boolean, now: Millis): void {
    if (allowed) this.#parts.delivery.accept(this.#session!.origin, send, number, this, now);
    else this.#refuseSend(send, number, "forbidden");
  }

  #received(ranges: readonly number[]): void {
    const { recipient } = this.#session!;
    for (let at = 0; at < ranges.length; at += 2) {
      if (!recipient.received(ranges[at]!, ranges[at + 1] ?? 0)) {
        this.fail("bad-frame", "RECEIVED names a DELIVER that was not sent");
        return;
      }
    }
  }

  #setBackground(background: boolean): void {
    const { identity, device, epoch } = this.#session!;
    this.#parts.table.setBackground(identity.user, device, epoch, background);
  }

  /** [P-4.11] */
  #quiet({ conversation, until }: QuietFrame): void {
    if (this.#isQuieting || (conversation !== "" && !validUserId(conversation))) {
      this.fail("bad-frame", "QUIET: not a user id, or before the one before it was answered");
      return;
    }
    this.#isQuieting = true;
    const count = ++this.#quiets;
    const { identity, device } = this.#session!;
    const answered = (say: () => void): void => {
      this.#isQuieting = false;
      if (this.#stage === "open") say();
    };
    this.#parts.store.wakes.quiet(identity.user, device, conversation, until).then(
      () => answered(() => this.#out.frame({ type: "quieted", count })),
      () => answered(() => this.#error("not-quieted", MEANINGS["not-quieted"])),
    );
  }

  /** [P-4.12] */
  #forget(): void {
    if (this.#isForgetting) return;
    this.#isForgetting = true;
    const { identity, device } = this.#session!;
    const { user } = identity;
    this.#parts.store.devices.forget(user, device).then(
      ({ setVersion, setSize }) => {
        this.#goodbye = true;
        // No failure: it is what was asked for, in a word that every transport has.
        this.#error("revoked", MEANINGS.revoked);
        this.close(CLOSE.revoked, "revoked");
        this.#parts.table.announceSet(user, setVersion, setSize);
      },
      () => this.fail("unavailable"),
    );
  }

  /** AUTH: a new token of the same user, for the same device. */
  #authenticate(token: string): void {
    this.#parts.authenticate(token).then(
      (identity) => {
        if (this.#stage !== "open") return;
        const { device } = this.#session!;
        if (identity.user !== this.#identity!.user) {
          this.fail("bad-token", "the new token is another user's");
        } else if (identity.device !== undefined && identity.device !== device) {
          this.fail("device-forbidden");
        } else {
          this.#identity = identity;
          this.#expiryTold = false;
        }
      },
      (error: unknown) => {
        if (this.#stage !== "open") return;
        if (error instanceof BadToken) this.fail(error.code, error.message);
        else this.fail("unavailable", "the token could not be checked");
      },
    );
  }

  // ── What a device is told ─────────────────────────────────────────────────────────────────────

  ack(send: number, status: AckStatus, route: Route): void {
    this.#unanswered--;
    if (this.#stage === "open") this.#out.ack(send, status, route);
  }

  refuse(send: number, code: SendErrorCode, lane: { to: string; n: number }): void {
    this.#refuseSend(lane, send, code);
  }

  deliver(body: Uint8Array, held: boolean, redelivered: boolean): void {
    this.#out.deliver(body, held, redelivered);
  }

  pulled(pull: number): void {
    this.#out.frame({ type: "pulled", pull });
  }

  get isCalm(): boolean {
    return this.#stage === "open" && this.#unanswered <= CALM;
  }

  get protocols(): readonly string[] {
    return this.#session?.protocols ?? [];
  }

  get congested(): boolean {
    return this.#out.buffered > CONGESTED_BYTES;
  }

  #refuseSend(
    lane: { readonly to: string; readonly n: number },
    number: number,
    code: SendErrorCode | "rate-limited",
    retryAfter = 0,
  ): void {
    this.#unanswered--;
    if (this.#stage !== "open") return;
    this.#refused ??= new RefusedLanes();
    this.#refused.refuse(lane.to, lane.n, !ERRORS[code].retryable);
    this.#error(code, MEANINGS[code], number, retryAfter);
  }

  #error(code: ErrorCode, message: string, send = 0, retryAfter = 0): void {
    const { number } = ERRORS[code];
    this.#out.frame({ type: "error", code: number, message, send, retryAfter });
  }

  // ── Its end ───────────────────────────────────────────────────────────────────────────────────

  /** Each second: silence, the token's end, a socket that does not empty. */
  check(): void {
    const { limits, clock } = this.#parts;
    if (clock.monotonic() - this.#heard >= limits.idle) {
      this.fail("silent");
      return;
    }
    if (this.#stage !== "open") return;
    if (clock.monotonic() - this.#seen >= SEEN_MS) this.#stillHere();
    if (this.#out.buffered > CONGESTED_BYTES) this.drained();
    if (this.#out.buffered > SLOW_BYTES) {
      this.fail("slow-consumer");
      return;
    }
    const left = this.#identity!.expires - clock.now();
    if (left <= 0) {
      this.fail("token-expired");
    } else if (left <= limits.tokenExpiring && !this.#expiryTold) {
      this.#expiryTold = true;
      this.#error("token-expiring", MEANINGS["token-expiring"]);
    }
  }

  /** A device that stays connected for weeks must not be taken for one that stays away, and one that has become dormant is durable again. */
  #stillHere(): void {
    this.#seen = this.#parts.clock.monotonic();
    const { identity, device, epoch, protocols, recipient } = this.#session!;
    if (!recipient.durable) return;
    const { user } = identity;
    this.#parts.store.devices
      .arrive({ user, device, durable: true, protocols, lastEpoch: epoch, epoch: NO_WELCOME })
      .then(
        ({ setVersion, setSize }) => this.#parts.table.announceSet(user, setVersion, setSize),
        // The store is away: tomorrow will do.
        () => undefined,
      );
  }

  /** Says why, and closes with the code that the catalogue gives. */
  fail(code: ConnectionErrorCode, why: string = MEANINGS[code]): void {
    if (this.#stage === "closed") return;
    const session = this.#session && {
      user: this.#session.identity.user,
      device: this.#session.device,
    };
    this.#parts.onFailure({ code, remote: this.#socket.remote, session });
    this.#error(code, why);
    this.close(ERRORS[code].closes ?? CLOSE.badFrame, code);
  }

  /** [P-8.7] One that was not welcomed yet is refused. */
  drain(within: Millis, servers: readonly ServerAddresses[]): void {
    if (this.#stage !== "open") {
      this.fail("draining");
      return;
    }
    this.#isSent = true;
    this.#out.frame({ type: "drain", within, servers });
  }

  /** [P-8.4] Names a better server. A hint: the device may stay. */
  move(server: ServerAddresses, reason: string): void {
    if (this.#stage !== "open") return;
    this.#isSent = true;
    this.#out.frame({ type: "move", server, reason });
  }

  close(code: number, reason: string): void {
    if (this.#stage === "closed") return;
    this.#out.flush();
    this.#leave();
    this.#socket.close(code, reason);
  }

  /** [L6] */
  silent(): void {
    this.fail("not-acknowledging");
  }

  replaced(): void {
    this.fail("replaced");
  }

  revoked(): void {
    this.fail("revoked");
  }

  /** The socket has dropped a message. */
  dropped(): void {
    if (this.#stage === "closed") return;
    this.#leave();
    this.#socket.terminate();
  }

  #leave(): void {
    this.#stage = "closed";
    this.#cancelHello?.();
    this.#parts.over(this);
    const session = this.#session;
    if (session === undefined) return;
    const { identity, device, epoch } = session;
    this.#parts.table.close(identity.user, device, epoch, this.#goodbye);
    this.#parts.delivery.disconnect(session.recipient);
  }
}
