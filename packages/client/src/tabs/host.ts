/** In the tab that leads: the one client, and what all tabs ask of it. */
import type { Millis } from "@beckon/protocol";

import type { Beckon } from "../beckon.ts";
import type { Clock } from "../clock.ts";
import { BeckonError } from "../errors.ts";
import type { Forgotten } from "../log-out.ts";
import type { Ack, Message, Unsent } from "../message.ts";
import type { ReferredSend, ReferredUnsent } from "../outbox.ts";
import type { Change, Storage, Stored } from "../storage.ts";
import type { Call, FromLeader, FromTab, PlainMessage, SendCall } from "./frames.ts";
import { createGate } from "./gate.ts";

export interface Host {
  /** Resolves when the client knows what is in the storage. */
  readonly ready: Promise<void>;
  /** Answers from now on, and hands over what comes in. */
  serve(): void;
  take(tab: string, frame: FromTab): void;
  /** The leading tab is closed: the next one may lead. */
  close(): Promise<void>;
  /** The leading tab will not run any more, or not for long: as if it had crashed, but at once. */
  abandon(): void;
}

export interface HostParts {
  /** The leading tab. */
  readonly own: string;
  readonly clock: Clock;
  readonly outboxLimit: number;
  /** The leader's alone from now on, and what was read of it. */
  readonly storage: Storage;
  readonly values: Iterable<readonly [key: string, value: Stored]>;
  /** Goes with the first write. */
  readonly first: Change;
  /** Starts the one client. */
  start(storage: Storage): Beckon;
  /** `tab` "": to all. */
  say(frame: FromLeader, tab: string): void;
  /** Calls back once when that tab is gone. The answer ends the waiting. */
  gone(tab: string, task: () => void): () => void;
}

/** As the client has it: `told` is told before the storage is closed. */
type Forgetting = (told: (outcome: Forgotten) => void) => Promise<Forgotten>;

/** A tab that is known to live. */
interface Member {
  joined: boolean;
  background: boolean;
  readonly unwatch: () => void;
}

/** Tabs whose life is followed; one more is served all the same, and counts for nothing else: neither for the background nor at the end. */
const MEMBERS = 64;
/** How long the end waits for the other tabs to hear of it. */
const END_MS: Millis = 1_000;
/** How long it is remembered what became of the messages of a tab that is gone. */
const LATE_MS: Millis = 1_000;

const refOf = (tab: string, call: Call): string => `${tab}/${call}`;
const tabOf = (ref: string): string => ref.slice(0, ref.indexOf("/"));

export function createHost(parts: HostParts): Host {
  const { own } = parts;
  const say = (frame: FromLeader, tab: string): void => parts.say(frame, tab);
  const members = new Map<string, Member>();
  /** Sends under way, by reference. */
  const active = new Map<string, AbortController>();
  /** Sends that an earlier leader stored, by reference and by key: also when they are acknowledged, as their tabs ask later. */
  const left = new Map<string, Promise<Ack>>();
  /** The message that no handler is through with. */
  let given: { readonly frame: FromLeader; readonly seq: number; done(): void } | undefined;
  let seq = 0;
  /** No answer goes out any more: the next leader gives them. */
  let leaving = false;
  let abandoned = false;
  /** Calls that wait for the end. */
  const forgetting: { readonly tab: string; readonly call: Call }[] = [];
  /** What they are told. */
  let forgotten: Forgotten = "local";
  let farewell: (() => void) | undefined;

  const gate = createGate({
    storage: parts.storage,
    values: parts.values,
    first: parts.first,
    foreign: (ref) => tabOf(ref) !== own,
    kept: (ref) => void watch(tabOf(ref)),
    closing: () => (leaving ? Promise.resolve() : end()),
  });
  const client = parts.start(gate.storage);
  for (const ref of gate.acks.keys()) watch(tabOf(ref));
  const ready = client.outbox().then((all) => {
    for (const unsent of all) keep(unsent);
  });

  function keep(unsent: Unsent): void {
    const { key, ref, ack } = unsent as ReferredUnsent;
    left.set(key, ack);
    if (ref !== "") left.set(ref, ack);
  }

  /** Undefined: there are too many. */
  function watch(tab: string): Member | undefined {
    const known = members.get(tab);
    if (known !== undefined || members.size >= MEMBERS) return known;
    const unwatch = tab === own ? () => {} : parts.gone(tab, () => drop(tab));
    const member = { joined: false, background: true, unwatch };
    members.set(tab, member);
    return member;
  }

  function drop(tab: string): void {
    members.get(tab)?.unwatch();
    members.delete(tab);
    // What it said last may come after the word that it is gone.
    parts.clock.after(LATE_MS, () => {
      for (const ref of gate.acks.keys()) if (tabOf(ref) === tab) gate.confirmed(ref);
    });
    lookAround();
    if (!others()) farewell?.();
  }

  const others = (): boolean => [...members].some(([tab, { joined }]) => joined && tab !== own);

  /** In the background is who is so in every tab. */
  function lookAround(): void {
    client.background([...members.values()].every(({ background }) => background));
  }

  function take(tab: string, frame: FromTab): void {
    // Whoever has heard of the end goes.
    if (leaving) return frame.kind === "leave" ? drop(tab) : undefined;
    switch (frame.kind) {
      case "join":
        return join(tab, frame.background);
      case "background": {
        const member = members.get(tab);
        if (member !== undefined) member.background = frame.background;
        return lookAround();
      }
      case "send":
        return send(tab, frame);
      case "abort":
        return active.get(refOf(tab, frame.call))?.abort();
      case "got":
        if (tab !== own) gate.confirmed(refOf(tab, frame.call));
        return;
      case "handled":
        if (given?.seq === frame.seq) given.done();
        return;
      case "outbox":
        return list(tab, frame.call);
      case "watch": {
        const ack = left.get(frame.key) ?? Promise.reject(new BeckonError("closed"));
        return answer(tab, frame.call, ack);
      }
      case "wake":
        return answer(tab, frame.call, client.onWake(frame.data));
      case "quiet":
        return answer(tab, frame.call, client.quiet(frame));
      case "forget":
        forgetting.push({ tab, call: frame.call });
        (client.forget as Forgetting)((outcome) => (forgotten = outcome)).catch(
          (error: unknown) => {
            for (const { tab: to, call } of forgetting.splice(0)) {
              say({ kind: "settled", call, error: toError(error) }, to);
            }
            void gate.storage.close();
          },
        );
        return;
      case "leave":
        void gate.settled().then(() => {
          say({ kind: "settled", call: frame.call }, tab);
          drop(tab);
        });
    }
  }

  function join(tab: string, background: boolean): void {
    const member = watch(tab);
    if (member !== undefined) {
      member.joined = true;
      member.background = background;
      lookAround();
    }
    sayState(tab);
    if (given !== undefined) say(given.frame, tab);
  }

  function sayState(tab: string): void {
    const { error, ...state } = client.state;
    say({ kind: "state", state, error }, tab);
  }

  function send(tab: string, { call, to, payload, wake, preview, ends }: SendCall): void {
    const ref = refOf(tab, call);
    const known = gate.acks.get(ref);
    if (known !== undefined) return say({ kind: "settled", call, value: known }, tab);
    if (active.has(ref)) return;
    const withdrawal = new AbortController();
    active.set(ref, withdrawal);
    const { signal } = withdrawal;
    const options: ReferredSend = {
      ref,
      signal,
      ...(wake !== undefined && { wake }),
      ...(preview !== undefined && { preview }),
      ...(ends !== undefined && { ends }),
    };
    const stored = left.get(ref);
    const ack = stored === undefined ? begin(to, payload, options) : orAborted(stored, signal);
    const over = (): void => void active.delete(ref);
    ack.then(over, over);
    answer(tab, call, ack);
  }

  /** What waits to be confirmed takes its place in the outbox until then. */
  function begin(to: string, payload: Uint8Array, options: ReferredSend): Promise<Ack> {
    if (gate.acks.size >= parts.outboxLimit) return Promise.reject(new BeckonError("outbox-full"));
    return client.send(to, payload, options);
  }

  function answer(tab: string, call: Call, value: Promise<unknown>): void {
    value.then(
      (result) => leaving || say({ kind: "settled", call, value: result }, tab),
      (error: unknown) => leaving || say({ kind: "settled", call, error: toError(error) }, tab),
    );
  }

  function list(tab: string, call: Call): void {
    void client.outbox().then((all) => {
      const value = all.map(({ key, id, to, payload, created }) => {
        return { key, id, to, payload, created };
      });
      say({ kind: "settled", call, value }, tab);
      for (const { key, ack } of all) answer(tab, `${call}:${key}`, ack);
    });
  }

  function give(received: Message): Promise<void> {
    // A function cannot be cloned.
    const message: PlainMessage = { ...received, text: undefined };
    return new Promise((resolve) => {
      const frame: FromLeader = { kind: "message", seq: ++seq, message };
      const done = (): void => {
        given = undefined;
        resolve();
      };
      given = { frame, seq, done };
      say(frame, "");
    });
  }

  /** The client is closed for good, by a call or by what went wrong: so is each tab. */
  async function end(): Promise<void> {
    leaving = true;
    for (const { tab, call } of forgetting) {
      say({ kind: "settled", call, value: forgotten }, tab);
    }
    say({ kind: "ended", error: client.state.error }, "");
    if (!others()) return;
    await new Promise<void>((resolve) => {
      farewell = resolve;
      parts.clock.after(END_MS, resolve);
    });
    unwatch();
  }

  function unwatch(): void {
    for (const member of members.values()) member.unwatch();
  }

  return {
    ready,
    serve() {
      client.on("error", (error) => abandoned || say({ kind: "error", error }, ""));
      client.on("state", ({ name }) => {
        if (name !== "closed" && !leaving) sayState("");
      });
      client.on("wake", (wake) => say({ kind: "wake", wake }, ""));
      client.on("message", give);
    },
    take,
    async close() {
      leaving = true;
      unwatch();
      await client.close();
    },
    abandon() {
      leaving = true;
      abandoned = true;
      unwatch();
      gate.shut();
      void client.close();
    },
  };
}

/** As `send` is: withdrawn too late, it rejects all the same. */
function orAborted(ack: Promise<Ack>, signal: AbortSignal): Promise<Ack> {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(new BeckonError("aborted")));
    ack.then(resolve, reject);
  });
}

function toError(error: unknown): BeckonError {
  return error instanceof BeckonError ? error : new BeckonError("closed", "", { cause: error });
}
