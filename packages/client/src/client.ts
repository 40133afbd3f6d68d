/** The SDK's one object, put together from its parts. */
import {
  CLOSE,
  type DeliverFrame,
  type DrainFrame,
  errorByNumber,
  type ErrorFrame,
  type Frame,
  type HelloFrame,
  type Millis,
  type PushRegistration,
  validUserId,
  type WelcomeFrame,
} from "@beckon/protocol";

import type { Beckon, Events } from "./beckon.ts";
import type { Connection } from "./connection.ts";
import { createCredentials } from "./credentials.ts";
import { createDialer } from "./dialer.ts";
import { BeckonError, storageFailed } from "./errors.ts";
import { createHandover } from "./handover.ts";
import { createInbox, type Item, toMessage } from "./inbox.ts";
import { createJournal } from "./journal.ts";
import { createListeners, tellOne } from "./listeners.ts";
import { forgetByHttp, forgetOver, type Forgotten, LOG_OUT_MS } from "./log-out.ts";
import type { ConnectOptions } from "./options.ts";
import { createOutbox } from "./outbox.ts";
import { listen } from "./platform.ts";
import { createQuiets } from "./quiets.ts";
import { randomFraction } from "./random.ts";
import { createSender } from "./sender.ts";
import { createSession } from "./session.ts";
import { settle, type Settings } from "./settings.ts";
import type { State, StateName } from "./state.ts";
import { createTask } from "./task.ts";
import { encodeText } from "./text.ts";
import { createWakes } from "./wake.ts";
import { toWake, type Wake } from "./wake-event.ts";

/** How the SDK calls itself in HELLO. */
const CLIENT = "beckon-js/0.1.0";
/** How long a wake waits for a connection. */
const WAKE_MS: Millis = 30_000;
/** How long dialling waits for wakes to be opened. */
const HOLD_MS: Millis = 1_000;
/** How long a move waits for what was sent to be answered; what is not then is sent again. */
const SETTLE_MS: Millis = 1_000;
/** How long after a message of a call there may be one. */
const CALL_MS: Millis = 2 * 60_000;
/** The longest time that a server can take to drain. */
const MAX_DRAIN_MS: Millis = 3_600_000;
/** How long an end waits for the storage to be read. */
const CLOSE_MS: Millis = 1_000;
/** Between two tries to get a token while connected. */
const RENEW_MS: Millis = 5_000;

/** Returns at once, and stays connected until it is closed. Throws {@link BeckonError} for options that can never work, never for the network. */
export function connect(options: ConnectOptions): Beckon {
  const settings = settle(options);
  const begin = (own: ConnectOptions): Beckon => start(own, settings);
  return options.storage?.share?.(options, settings, begin) ?? begin(options);
}

type Told = (outcome: Forgotten) => void;

function start(options: ConnectOptions, settings: Settings): Beckon {
  const { clock, random, transports } = settings;
  const { storage } = options;
  const states = createListeners<State>();
  const errors = createListeners<BeckonError>();
  const woken = createListeners<Wake>();

  let state: State = stateOf("connecting");
  /** The connection, while it is welcome. */
  let current: Connection | undefined;
  let background = options.background === true;
  /** What the last HELLO said. */
  let said: { readonly push: PushRegistration | undefined; readonly background: boolean };
  /** When a message of a call was sent or received last. */
  let called = -Infinity;
  let started = false;
  /** What was called before that; as many as the outbox takes. */
  const early: (() => void)[] = [];
  let closing: Promise<void> | undefined;
  /** Wakes that are being opened. */
  const opening = new Set<Promise<unknown>>();

  const journal = createJournal(storage, (cause) => report(storageFailed(cause)));
  const session = createSession(clock, random, journal);
  const wakes = createWakes(clock, random, settings.crypto, journal);
  const credentials = createCredentials(options.token, clock);
  const outbox = createOutbox({
    clock,
    random,
    journal,
    limit: settings.outboxLimit,
    serverTime: () => session.serverTime(),
    payloadLimit: () => current?.limits.payload,
    online: () => current !== undefined,
    ready: (lane) => sender.ready(lane),
  });
  const sender = createSender(outbox, clock, random, noteCall);
  const handover = createHandover(
    clock,
    random,
    toMessage,
    (item: Item) => inbox.handled(item),
    report,
  );
  const quiets = createQuiets(
    clock,
    settings.outboxLimit,
    () => session.serverTime() - clock.now(),
  );
  const inbox = createInbox(clock, journal, (item) => handover.push(item));
  const dialer = createDialer({
    stored: storage !== undefined,
    clock,
    session,
    credentials,
    transports,
    seeds: settings.seeds,
    choosing: { prefer: settings.prefer, protocols: Object.keys(transports), random },
    handler: { welcomed, frame, turn: (connection) => inbox.turn(connection), ended },
    trace: options.trace,
    hello,
    hold,
    sends: { hold: () => within(SETTLE_MS, sender.hold()), release: () => sender.release() },
    connecting() {
      if (current === undefined && state.name !== "connecting") {
        setState({ ...stateOf("connecting"), error: state.error });
      }
    },
    waiting(retryAt, error) {
      setState({ ...stateOf("waiting"), retryAt, error });
      // Everything else that is waited for passes by itself.
      if (error.code === "token-failed") report(error);
    },
    stopped(error) {
      report(error);
      void shut(error);
    },
  });
  const unlisten = listen({ stirred, hidden });
  const ready = open();

  async function open(): Promise<void> {
    try {
      for (const [key, value] of (await storage?.read()) ?? []) {
        for (const part of [session, wakes, outbox, inbox]) part.load(key, value);
      }
      await session.begin(options.device);
      await wakes.begin(options.push);
    } catch (cause) {
      const error = storageFailed(cause);
      // On the way out nobody waits for it.
      if (closing === undefined) report(error);
      void shut(error);
    }
    for (const task of early.splice(0)) task();
    started = true;
    if (closing === undefined) void dialer.run();
  }

  function setState(next: State): void {
    state = next;
    states.tell(next);
  }

  function report(error: BeckonError): void {
    if (errors.size > 0) errors.tell(error);
    else console.warn(`beckon: ${error.message}: ${error.hint}`);
  }

  function hello(own: Pick<HelloFrame, "token" | "ticket" | "hinted" | "noRedirect">): HelloFrame {
    const push = wakes.registration();
    const [first] = outbox.entries();
    said = { push, background };
    return {
      type: "hello",
      ...own,
      ...(push && { push }),
      device: session.device,
      durable: settings.durable,
      protocols: Object.keys(transports),
      epoch: session.epoch,
      outbox: session.outbox,
      intent: first?.lane.to ?? "",
      noCopies: options.copies === false,
      client: CLIENT,
      capabilities: 0,
      background,
    };
  }

  function welcomed(connection: Connection, welcome: WelcomeFrame): void {
    // After a move. What it has not answered is sent again on this one.
    current?.leave(CLOSE.bye);
    current = connection;
    session.welcomed(welcome);
    credentials.keep(welcome.ticket);
    if (said.push !== undefined) wakes.registered(said.push);
    if (said.background !== background) connection.write({ type: "state", background });
    const { server, recovered } = welcome;
    setState({ ...stateOf("connected"), server, recovered });
    inbox.connected(connection);
    sender.connected(connection);
    quiets.connected(connection);
  }

  function frame(connection: Connection, frame: Frame, deliver: number): void {
    switch (frame.type) {
      case "deliver":
        noteCall(frame);
        return inbox.deliver(connection, frame, deliver);
      case "ack":
        return sender.acknowledged(frame);
      case "pulled":
        return inbox.pulled(frame.pull);
      case "pong":
        return session.corrected(frame.time);
      case "error":
        return frame.send > 0 ? sender.refused(frame) : warned(connection, frame);
      case "quieted":
        return quiets.quieted();
      case "move":
        return void dialer.move(connection, [frame.server], () => mayMove(connection));
      case "drain":
        return drained(connection, frame);
      default:
    }
  }

  function noteCall({ wake, ends }: Pick<DeliverFrame, "wake" | "ends">): void {
    if (wake === "call" || ends.length > 0) called = clock.now();
  }

  /** A MOVE is a hint: where it would be in the way, the device is served here all the same (L9). */
  function mayMove(connection: Connection): boolean {
    const { moves = true } = options;
    let may = moves === true;
    // One that throws, or promises, says no.
    if (typeof moves === "function") tellOne(() => (may = Object.is(moves(), true)), undefined);
    const isCalling = clock.now() - called < CALL_MS;
    return may && !background && !isCalling && !sender.full() && !connection.full;
  }

  function ended(): void {
    current = undefined;
    sender.disconnected();
    inbox.disconnected();
    quiets.disconnected();
  }

  function warned(connection: Connection, { code, message }: ErrorFrame): void {
    if (quiets.refused(code)) return;
    const error = errorByNumber(code);
    if (error?.code === "token-expiring") void renew(connection);
    else if (error !== undefined) report(new BeckonError(error.code, message));
  }

  /** The token is about to expire: the server is told a new one, so that the connection stays. */
  async function renew(connection: Connection): Promise<void> {
    const token = await credentials.token(createTask());
    if (!connection.open) return;
    if (typeof token === "string") {
      // The ticket stands for the old one.
      credentials.drop();
      connection.write({ type: "auth", token });
    } else if (token !== undefined) {
      report(token);
      clock.after(RENEW_MS, () => void (connection.open && renew(connection)));
    }
  }

  /** [P-8.5] Goes elsewhere, at some moment within the time that is given, so that not all go at once (B3). */
  function drained(connection: Connection, { within, servers }: DrainFrame): void {
    clock.after(
      Math.min(within, MAX_DRAIN_MS) * randomFraction(random),
      () => void dialer.move(connection, servers),
    );
  }

  function hold(): Promise<void> | undefined {
    return opening.size === 0 ? undefined : within(HOLD_MS, Promise.allSettled(opening));
  }

  function within(ms: Millis, waited: Promise<unknown>): Promise<void> {
    return new Promise((resolve) => {
      const cancel = clock.after(ms, resolve);
      void waited.then(() => {
        cancel();
        resolve();
      });
    });
  }

  async function onWake(data: unknown): Promise<"connected" | "ignored"> {
    const opened = whenReady(() =>
      // Without what was stored there is no device.
      closing ? undefined : wakes.open(data, session.device, session.serverTime()),
    );
    opening.add(opened);
    const hint = await opened;
    opening.delete(opened);
    if (hint === undefined || closing !== undefined) {
      // Whatever came: the network is there.
      dialer.hurry();
      return "ignored";
    }
    woken.tell(toWake(hint));
    const forget = dialer.follow(hint);
    // The server took this device for away: what looks like a connection may be none. A living one stays where it is.
    if ((await current?.probe()) === true) {
      forget();
      return "connected";
    }
    return arrival();
  }

  async function arrival(): Promise<"connected" | "ignored"> {
    let ignore = (): void => {};
    const arrived = new Promise<void>((resolve) => {
      ignore = states.add(({ name }) => {
        if (name === "connected" || name === "closed") resolve();
      });
      // It may have been closed while it was asked whether its connection lives.
      if (current !== undefined || closing !== undefined) resolve();
    });
    await within(WAKE_MS, arrived);
    ignore();
    return state.name === "connected" ? "connected" : "ignored";
  }

  function stirred(): void {
    dialer.hurry();
    void current?.probe();
  }

  function hidden(hidden: boolean): void {
    if (options.background === "auto") setBackground(hidden);
  }

  function setBackground(value: boolean): void {
    if (value === background) return;
    background = value;
    current?.write({ type: "state", background });
  }

  /** In the order of the calls: none that comes later overtakes one that waits for the storage. */
  function whenReady<T>(task: () => T | Promise<T>): Promise<T> {
    const attempt = (): Promise<T> => new Promise((resolve) => resolve(task()));
    if (started) return attempt();
    return new Promise((resolve) => early.push(() => resolve(attempt())));
  }

  /** Ends everything; `told`: of a log-out, which also removes what is stored. */
  function shut(error: BeckonError | undefined, told?: Told): Promise<void> {
    closing ??= end(error, told);
    return closing;
  }

  async function end(error: BeckonError | undefined, told: Told | undefined): Promise<void> {
    dialer.stop();
    unlisten();
    handover.close();
    // Another one may have the storage for as long as it likes.
    if (!started) await within(CLOSE_MS, ready);
    if (told !== undefined) told((await forgotten()) ? "forgotten" : "local");
    current?.leave(CLOSE.bye);
    const closed = error ?? new BeckonError("closed");
    outbox.close(closed);
    quiets.close(closed);
    setState({ ...stateOf("closed"), error });
    await journal.close();
    try {
      if (told !== undefined) await storage?.clear();
    } catch (cause) {
      throw storageFailed(cause);
    } finally {
      await storage?.close();
    }
  }

  /** Over the connection, else by HTTP. Of a session device there is nothing to forget. */
  async function forgotten(): Promise<boolean> {
    let done = false;
    const attempt = async (asked: Promise<boolean>): Promise<void> => {
      done = await asked;
    };
    if (current !== undefined) await within(LOG_OUT_MS, attempt(forgetOver(current)));
    else if (!settings.durable) return true;
    // Without what was stored there is no device.
    if (!done && started) await within(LOG_OUT_MS, attempt(forgottenByHttp()));
    return done;
  }

  async function forgottenByHttp(): Promise<boolean> {
    const known = session.servers.flatMap(({ addresses }) => addresses);
    const token = await credentials.token(createTask());
    if (typeof token !== "string") return false;
    return forgetByHttp([...known, ...settings.seeds], session.device, token);
  }

  /** `heard` is told before the storage is closed. */
  async function forget(heard?: Told): Promise<Forgotten> {
    if (closing !== undefined) throw new BeckonError("closed");
    let outcome: Forgotten = "local";
    await shut(undefined, (told) => {
      outcome = told;
      heard?.(told);
    });
    return outcome;
  }

  return {
    get state() {
      return state;
    },
    send(to, payload, sendOptions = {}) {
      if (typeof payload !== "string" && !ArrayBuffer.isView(payload)) {
        return Promise.reject(new BeckonError("bad-argument", "payload"));
      }
      if (early.length >= settings.outboxLimit) {
        return Promise.reject(new BeckonError("outbox-full"));
      }
      const bytes = typeof payload === "string" ? encodeText(payload) : new Uint8Array(payload);
      return whenReady(() => outbox.add(to, bytes, sendOptions));
    },
    messages: () => handover.iterate(),
    outbox: () => whenReady(() => outbox.list()),
    onWake,
    on<E extends keyof Events>(event: E, handler: Events[E]) {
      const one: Partial<Events> = { [event]: handler };
      if (one.message !== undefined) return handover.on(one.message);
      if (one.error !== undefined) return errors.add(one.error);
      if (one.wake !== undefined) return woken.add(one.wake);
      if (one.state === undefined) throw new BeckonError("bad-argument", "event");
      tellOne(one.state, state);
      return states.add(one.state);
    },
    background: setBackground,
    quiet({ conversation = "", until }) {
      const time = Math.min(Math.max(0, Math.round(+until)), Number.MAX_SAFE_INTEGER);
      if (Number.isNaN(time) || (conversation !== "" && !validUserId(conversation))) {
        return Promise.reject(new BeckonError("bad-argument", "quiet"));
      }
      if (closing !== undefined) return Promise.reject(new BeckonError("closed"));
      return quiets.say(conversation, time);
    },
    close: () => shut(undefined),
    forget,
  };
}

function stateOf(name: StateName): State {
  return { name, server: undefined, recovered: undefined, retryAt: undefined, error: undefined };
}
