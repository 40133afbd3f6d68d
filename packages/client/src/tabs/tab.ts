/** What the application of one tab holds: it asks whichever tab leads, and asks the next one again what is not answered. */
import { LIMITS, type Millis } from "@beckon/protocol";

import type { Beckon, Events } from "../beckon.ts";
import type { Clock } from "../clock.ts";
import { BeckonError } from "../errors.ts";
import { createHandover, type Handed } from "../handover.ts";
import { createListeners, tellOne } from "../listeners.ts";
import type { Forgotten } from "../log-out.ts";
import type { Ack, Message, Unsent } from "../message.ts";
import type { AbortSignalLike, SendOptions } from "../options.ts";
import type { Random } from "../random.ts";
import type { State } from "../state.ts";
import { decodeText, encodeText } from "../text.ts";
import type { Wake } from "../wake-event.ts";
import type { Asking, Call, FromLeader, FromTab, PlainMessage } from "./frames.ts";

export interface Tab {
  readonly beckon: Beckon;
  /** There is another leader: it is asked what is open. */
  led(leader: string): void;
  /** There is none: what is asked waits. */
  leaderless(): void;
  take(leader: string, frame: FromLeader): void;
}

export interface TabParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly outboxLimit: number;
  background: boolean;
  /** Throws for what cannot be cloned. */
  say(leader: string, frame: FromTab): void;
  /** Whether nobody else speaks for the client where nobody listens. */
  leads(): boolean;
  /** If it does not lead, it never will. */
  resign(): void;
  /** This tab has no part in it any more; resolves when the next leader may come. */
  left(): Promise<void>;
}

/** A call that is not answered. */
interface Pending {
  readonly frame: Asking | Extract<FromTab, { kind: "leave" }>;
  aborted: boolean;
  /** Some leader has heard of it. */
  said: boolean;
  settle(value: unknown, error: BeckonError | undefined): void;
}

type Listed = Omit<Unsent, "ack" | "text">;

/** A message from when this tab was given it. */
interface Given extends Handed {
  readonly key: string;
  message: PlainMessage;
  /** Whose it is, and under which number. */
  leader: string;
  seq: number;
  handled: boolean;
}

/** Messages that wait for the handler of this tab; what comes beyond is left out, and the next one of its lane marked `gap`. */
const OPEN = 4_096;
/** Messages that were handled here and are known when a next leader gives them again: more are never under way. */
const KNOWN = 1_024;
/** Calls other than `send` that wait for their answer. */
const CALLS = 1_000;
/** How long `close` waits for what was sent to be stored. */
const LEAVE_MS: Millis = 1_000;

const BEFORE: State = {
  name: "connecting",
  server: undefined,
  recovered: undefined,
  retryAt: undefined,
  error: undefined,
};

export function createTab(parts: TabParts): Tab {
  const { clock, random } = parts;
  const states = createListeners<State>();
  const errors = createListeners<BeckonError>();
  const woken = createListeners<Wake>();
  /** In the order of the calls. */
  const pending = new Map<Call, Pending>();
  /** Those of the outbox that were listed, by key. */
  const listed = new Map<string, Promise<Ack>>();
  /** Oldest first. */
  const given = new Map<string, Given>();
  const lossy = new Set<string>();
  let open = 0;
  let sends = 0;
  let calls = 0;
  let leader: string | undefined;
  let state: State = BEFORE;
  let background = parts.background;
  let closing: Promise<void> | undefined;

  const handover = createHandover<Given>(clock, random, toMessage, handled, report);

  function say(frame: FromTab): void {
    if (leader !== undefined) parts.say(leader, frame);
  }

  function ask<T>(frame: Pending["frame"]): { answer: Promise<T>; entry: Pending } {
    let settle!: Pending["settle"];
    const answer = new Promise<T>((resolve, reject) => {
      settle = (value, error) => (error === undefined ? resolve(value as T) : reject(error));
    });
    const entry: Pending = { frame, aborted: false, said: false, settle };
    pending.set(frame.call, entry);
    if (frame.kind === "send") sends++;
    utter(entry);
    return { answer, entry };
  }

  function utter(entry: Pending): void {
    if (leader === undefined) return;
    entry.said = true;
    try {
      say(entry.frame);
      if (entry.aborted) say({ kind: "abort", call: entry.frame.call });
    } catch {
      settle(entry.frame.call, undefined, new BeckonError("bad-argument"));
    }
  }

  function settle(call: Call, value: unknown, error: BeckonError | undefined): void {
    const entry = pending.get(call);
    if (entry === undefined) return;
    pending.delete(call);
    const { frame } = entry;
    if (frame.kind === "send") sends--;
    if (frame.kind === "watch") listed.delete(frame.key);
    entry.settle(value, error);
  }

  function newCall(): Call {
    return String(++calls);
  }

  function send(to: string, payload: string | Uint8Array, options: SendOptions): Promise<Ack> {
    if (typeof payload !== "string" && !ArrayBuffer.isView(payload)) {
      return Promise.reject(new BeckonError("bad-argument", "payload"));
    }
    if (closing !== undefined) return Promise.reject(state.error ?? new BeckonError("closed"));
    if (options.signal?.aborted) return Promise.reject(new BeckonError("aborted"));
    if (sends >= parts.outboxLimit) return Promise.reject(new BeckonError("outbox-full"));
    const bytes = typeof payload === "string" ? encodeText(payload) : new Uint8Array(payload);
    if (bytes.length > LIMITS.messageBytes) {
      return Promise.reject(new BeckonError("payload-too-large"));
    }
    const { wake, preview, ends, signal } = options;
    const call = newCall();
    const content = { payload: bytes, wake, preview, ends };
    const { answer, entry } = ask<Ack>({ kind: "send", call, to, ...content });
    if (signal !== undefined) withdrawOn(signal, entry);
    return answer;
  }

  function withdrawOn(signal: AbortSignalLike, entry: Pending): void {
    const { frame } = entry;
    const inner = entry.settle.bind(entry);
    const abort = (): void => {
      entry.aborted = true;
      if (entry.said) say({ kind: "abort", call: frame.call });
      else settle(frame.call, undefined, new BeckonError("aborted"));
    };
    entry.settle = (value, error) => {
      signal.removeEventListener("abort", abort);
      inner(value, error);
    };
    signal.addEventListener("abort", abort);
  }

  async function outbox(): Promise<readonly Unsent[]> {
    if (closing !== undefined || pending.size - sends >= CALLS) return [];
    return ask<readonly Unsent[]>({ kind: "outbox", call: newCall() }).answer;
  }

  /** In the turn in which the list comes: what becomes of its messages may be the next frame. */
  function complete(call: Call, list: readonly Listed[]): Unsent[] {
    return list.map((unsent) => ({
      ...unsent,
      text: () => decodeText(unsent.payload),
      ack: listed.get(unsent.key) ?? watch(`${call}:${unsent.key}`, unsent.key),
    }));
  }

  function watch(call: Call, key: string): Promise<Ack> {
    const ack = new Promise<Ack>((resolve, reject) => {
      pending.set(call, {
        frame: { kind: "watch", call, key },
        aborted: false,
        // The leader watches what it lists.
        said: true,
        settle: (value, error) => (error === undefined ? resolve(value as Ack) : reject(error)),
      });
    });
    // Nobody may wait for it.
    ack.catch(() => {});
    listed.set(key, ack);
    return ack;
  }

  async function onWake(data: unknown): Promise<"connected" | "ignored"> {
    if (closing !== undefined || pending.size - sends >= CALLS) return "ignored";
    try {
      return await ask<"connected" | "ignored">({ kind: "wake", call: newCall(), data }).answer;
    } catch {
      // Closed meanwhile, or nothing that a push can carry.
      return "ignored";
    }
  }

  function take(from: string, frame: FromLeader): void {
    if (closing !== undefined && frame.kind !== "settled") return;
    switch (frame.kind) {
      case "state":
        if (from === leader) setState({ ...frame.state, error: frame.error });
        return;
      case "message":
        return deliver(from, frame.seq, frame.message);
      case "wake":
        return woken.tell(frame.wake);
      case "error":
        if (frame.error !== undefined) report(frame.error);
        return;
      case "settled":
        return settled(frame.call, frame.value, frame.error);
      case "ended":
        void ended(frame.error);
    }
  }

  function settled(call: Call, value: unknown, error: BeckonError | undefined): void {
    const kind = pending.get(call)?.frame.kind;
    const isList = kind === "outbox" && error === undefined;
    settle(call, isList ? complete(call, value as Listed[]) : value, error);
    if (kind === "send" && error === undefined) say({ kind: "got", call });
  }

  function deliver(from: string, seq: number, message: PlainMessage): void {
    const lane = `${message.from}\n${message.fromDevice}\n${message.to}`;
    const key = `${lane}\n${message.id}`;
    const known = given.get(key);
    if (known !== undefined) {
      // The leader before this one gave it: it is handed over once.
      known.leader = from;
      known.seq = seq;
      if (known.handled) done(known);
      return;
    }
    if (open >= OPEN) {
      if (lossy.size < OPEN) lossy.add(lane);
      return;
    }
    const { redelivered } = message;
    const gap = lossy.delete(lane) || message.gap;
    const item: Given = {
      key,
      lane,
      message: { ...message, gap },
      leader: from,
      seq,
      redelivered,
      first: message.wake === "call" && message.n === 0,
      failures: 0,
      handled: false,
    };
    given.set(key, item);
    open++;
    for (const [oldest, other] of given) {
      if (given.size <= KNOWN + open) break;
      if (other.handled) given.delete(oldest);
    }
    handover.push(item);
  }

  function handled(item: Given): void {
    item.handled = true;
    // What is remembered of it is its name.
    item.message = { ...item.message, payload: new Uint8Array(0) };
    open--;
    done(item);
  }

  function done({ leader: to, seq }: Given): void {
    if (to === leader) say({ kind: "handled", seq });
  }

  /** Whoever has led waits for the others to know, and does not answer. */
  function ended(error: BeckonError | undefined): Promise<void> {
    say({ kind: "leave", call: newCall() });
    leader = undefined;
    return shut(error);
  }

  function setState(next: State): void {
    state = next;
    states.tell(next);
  }

  function report(error: BeckonError): void {
    if (errors.size > 0) errors.tell(error);
    else if (error.code === "handler-failed" || parts.leads()) {
      console.warn(`beckon: ${error.message}: ${error.hint}`);
    }
  }

  function setBackground(value: boolean): void {
    if (value === background) return;
    background = value;
    say({ kind: "background", background });
  }

  function shut(error: BeckonError | undefined): Promise<void> {
    closing ??= end(error);
    return closing;
  }

  async function end(cause: BeckonError | undefined): Promise<void> {
    handover.close();
    parts.resign();
    const call = newCall();
    const waits = leader !== undefined && !parts.leads();
    const stored = waits ? ask<void>({ kind: "leave", call }).answer : Promise.resolve();
    const closed = cause ?? new BeckonError("closed");
    for (const [open, { frame }] of pending) {
      if (frame.kind !== "leave" && frame.kind !== "forget") settle(open, undefined, closed);
    }
    setState({ ...BEFORE, name: "closed", error: cause });
    const cancel = clock.after(LEAVE_MS, () => settle(call, undefined, undefined));
    await stored;
    cancel();
    await parts.left();
  }

  async function quiet({
    conversation = "",
    until,
  }: Parameters<Beckon["quiet"]>[0]): Promise<void> {
    if (closing !== undefined) throw state.error ?? new BeckonError("closed");
    if (pending.size - sends >= CALLS) throw new BeckonError("outbox-full");
    const call = newCall();
    return ask<void>({ kind: "quiet", call, conversation, until: Number(until) }).answer;
  }

  async function forget(): Promise<Forgotten> {
    if (closing !== undefined) throw new BeckonError("closed");
    const outcome = await ask<Forgotten>({ kind: "forget", call: newCall() }).answer;
    await ended(undefined);
    return outcome;
  }

  const beckon: Beckon = {
    get state() {
      return state;
    },
    send: (to, payload, options = {}) => send(to, payload, options),
    messages: () => handover.iterate(),
    outbox,
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
    quiet,
    close: () => shut(undefined),
    forget,
  };

  return {
    beckon,
    take,
    led(next) {
      if (next === leader || closing !== undefined) return;
      leader = next;
      say({ kind: "join", background });
      for (const entry of pending.values()) utter(entry);
    },
    leaderless() {
      leader = undefined;
    },
  };
}

function toMessage({ message, redelivered }: Given): Message {
  return { ...message, redelivered, text: () => decodeText(message.payload) };
}
