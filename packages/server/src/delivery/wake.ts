import { LIMITS } from "@beckon/protocol";
import type { Millis, ServerAddresses } from "@beckon/protocol";
import { AgingMap } from "../lib/aging-map.ts";
import type { Clock } from "../lib/clock.ts";
import { PUSH_ANSWER_MS } from "../push/provider.ts";
import type { PushItem, PushOutcome, PushProvider } from "../push/provider.ts";
import { selectAddresses } from "../push/select.ts";
import type { Session, SessionTable } from "../sessions/table.ts";
import type { WakeIntent, WakeOutcome, WakeStore } from "../store/store.ts";
import type { Counters } from "./counters.ts";
import type { Observer } from "./observer.ts";

const SCAN_MS = 1_000;
/** Longer than a push service may take to answer. */
const LEASE_MS = 2 * PUSH_ANSWER_MS;
const BATCH = 256;
/**
 * Batches that are with one push service at once. What is due beyond gathers in the store, for this server or another: a service that
 * hangs holds up nobody's wakes but its own.
 */
const UNDER_WAY = 4;
/** L5: a device that looked connected a moment ago gets this long to come back. */
const SETTLE_MS = 5_000;
/** A device that is connected is looked at again: it is closed when it stays silent (L6), or the table was late to hear that it left. */
const CONNECTED_MS = 500;
/** A call does not wait for that: for a device that has not acknowledged for so long it rings, though it looks connected. */
const CALL_CONNECTED_MS = 2_000;
/** Devices, for the counters; beyond it those of which the last news is the oldest are forgotten. */
const REMEMBERED = 10_000;
/** By how much the session table may be late. */
const LATE_MS = 10_000;
/** After an outcome that the push service will not take back. */
const REJECTED_MS = 3_600_000;

export interface WakeParts {
  readonly clock: Clock;
  readonly wakes: WakeStore;
  readonly table: SessionTable;
  /** Names this server as the holder of leases. */
  readonly owner: string;
  readonly providers: ReadonlyMap<string, PushProvider>;
  /** The addresses of the server that accepted the message; another's where that one takes no more devices. */
  addressesOf(server: string): ServerAddresses;
  /**
   * `server` has the addresses that suit the device, if any does. Undefined: nothing can be said to this device. `largest`: bytes of the
   * body, where the push service takes fewer than others.
   */
  compose(
    intent: WakeIntent,
    server: ServerAddresses,
    largest?: number,
  ): Promise<PushItem | undefined>;
  /** The device is connected, and something is held for it: it is to be looked for in the store (L4). */
  readonly onConnected: (session: Session) => void;
  readonly counters: Counters;
  readonly observer?: Observer | undefined;
}

/** Dispatches wake intents: claims what is due, pushes, and says what became of it (M7, L5). */
export class WakeDispatcher {
  readonly #parts: WakeParts;
  #claiming = false;
  #again = false;
  /** Batches that were claimed, and what became of them is not noted yet: by push service. "": of those that wait for their device. */
  readonly #underWay = new Map<string, number>();
  #stopped = true;
  #cancel: (() => void) | undefined;

  /**
   * When messages were accepted whose wakes are due, by device: for the counters alone. Another server may push in place of this one, or
   * nobody, so what is here may be of a wake that is over.
   */
  readonly #acceptedAt = new AgingMap<Millis>();
  /** When pushes left, by device, for as long as the table may be late. */
  readonly #leftAt = new Map<string, Millis>();

  constructor(parts: WakeParts) {
    this.#parts = parts;
    parts.table.onChange((change) => {
      if (change.kind === "appeared") this.#appeared(change.session);
    });
  }

  start(): void {
    this.#stopped = false;
    this.#scan();
  }

  /** Claims nothing more; see `isBusy`. */
  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
  }

  /** A push is under way, or what became of it is being noted: who ends now may have it sent once more (L5). */
  get isBusy(): boolean {
    return this.#claiming || this.#underWay.size > 0;
  }

  /** Devices of a user have a wake that is due now, for a message that was accepted then. */
  due(user: string, devices: readonly string[], acceptedAt: Millis): void {
    for (const device of devices) {
      this.#acceptedAt.set(keyOf({ user, device }), acceptedAt);
      if (this.#acceptedAt.size > REMEMBERED) this.#acceptedAt.delete(this.#acceptedAt.oldest!);
    }
    this.poke();
  }

  /** Something is due now. */
  poke(): void {
    this.#again = true;
    this.#parts.clock.defer(this.#dispatchNow);
  }

  readonly #scan = (): void => {
    if (this.#stopped) return;
    this.#again = true;
    this.#dispatchNow();
    this.#cancel = this.#parts.clock.after(SCAN_MS, this.#scan);
  };

  /** One claim at a time; the batches that they give go on side by side. */
  readonly #dispatchNow = (): void => {
    if (this.#claiming || this.#stopped || !this.#again) return;
    this.#claiming = true;
    this.#again = false;
    this.#claim().then(this.#claimed, this.#claimed);
  };

  readonly #claimed = (): void => {
    this.#claiming = false;
    this.#dispatchNow();
  };

  async #claim(): Promise<void> {
    const { wakes, owner, providers } = this.#parts;
    const full = [...providers.keys()].filter((name) => this.#underWay.get(name) === UNDER_WAY);
    // One of them is poked for when it has room.
    if (full.length > 0 && full.length === providers.size) return;
    const intents = await wakes.claim(owner, LEASE_MS, BATCH, full);
    // Also where it has been stopped meanwhile: until their leases end nobody else would push.
    if (intents.length === 0) return;
    if (intents.length === BATCH) this.#again = true;
    this.#dispatch(intents);
  }

  #dispatch(intents: readonly WakeIntent[]): void {
    const { counters } = this.#parts;
    const byProvider = new Map<string, WakeIntent[]>();
    const unpushed: Done[] = [];
    for (const intent of intents) {
      const outcome = this.#withoutPush(intent);
      if (outcome !== undefined) {
        counters.pushed(intent.push.provider, intent.class, "postponed");
        // It waits for what is meant to be waited for.
        this.#acceptedAt.delete(keyOf(intent));
        unpushed.push(doneOf(intent, outcome));
        continue;
      }
      const group = byProvider.get(intent.push.provider);
      if (group === undefined) byProvider.set(intent.push.provider, [intent]);
      else group.push(intent);
    }
    if (unpushed.length > 0) this.#follow("", this.#note(unpushed));
    for (const [provider, group] of byProvider) this.#follow(provider, this.#push(provider, group));
  }

  /** Counts a batch until `noted` is over. Where it failed the leases end by themselves. */
  #follow(provider: string, noted: Promise<void>): void {
    this.#underWay.set(provider, (this.#underWay.get(provider) ?? 0) + 1);
    const over = (): void => {
      const before = this.#underWay.get(provider)!;
      if (before === 1) this.#underWay.delete(provider);
      else this.#underWay.set(provider, before - 1);
      // What was passed over meanwhile.
      if (before === UNDER_WAY) this.poke();
    };
    noted.then(over, over);
  }

  async #note(outcomes: Parameters<WakeStore["done"]>[1]): Promise<void> {
    await this.#parts.wakes.done(this.#parts.owner, outcomes);
  }

  /** What is to be said of a wake that is none, or has to wait, because the device is here, or was a moment ago. */
  #withoutPush({
    user,
    device,
    class: wake,
    call,
    ended,
    expires,
  }: WakeIntent): WakeOutcome | undefined {
    const { table, clock } = this.#parts;
    const session = table.find(user, device);
    if (session !== undefined && !session.background) {
      // It has the end of the call before its eyes.
      if (ended) return { kind: "sent" };
      this.#parts.onConnected(session);
      const ringing = LIMITS.ring - (expires - clock.now());
      const isRung = wake === "call" && ringing >= CALL_CONNECTED_MS;
      return isRung ? undefined : { kind: "later", delay: CONNECTED_MS };
    }
    if (session !== undefined || call !== "") return undefined;
    if (!table.wasConnectedWithin(user, device, SETTLE_MS)) return undefined;
    return { kind: "later", delay: SETTLE_MS };
  }

  async #push(name: string, intents: readonly WakeIntent[]): Promise<void> {
    const { providers, counters, clock, observer } = this.#parts;
    const provider = providers.get(name);
    const servers = intents.map((intent) =>
      selectAddresses(this.#parts.addressesOf(intent.server), intent),
    );
    const items = await Promise.all(
      intents.map((intent, at) =>
        provider === undefined
          ? Promise.resolve(undefined)
          : this.#compose(intent, servers[at]!, provider.largestBody),
      ),
    );
    const sendable = items.filter((item) => item !== undefined);
    const begun = clock.monotonic();
    const left = clock.now();
    for (const [at, intent] of intents.entries()) {
      if (items[at] === undefined) this.#acceptedAt.delete(keyOf(intent));
      else this.#leaves(intent, left);
    }
    const outcomes = sendable.length > 0 ? await provider!.send(sendable) : [];
    if (sendable.length > 0) counters.pushAnswered(name, clock.monotonic() - begun);
    let next = 0;
    const results = intents.map((intent, at) => {
      const outcome = items[at] === undefined ? undefined : outcomes[next++]!;
      const kind = outcome?.kind ?? "impossible";
      counters.pushed(name, intent.class, kind);
      const { user, device } = intent;
      const { name: named } = servers[at]!;
      observer?.pushed({ user, device, names: named, body: items[at]?.body, outcome: kind });
      return doneOf(intent, wakeOutcome(outcome, intent, named));
    });
    await this.#note(results);
  }

  #leaves(intent: WakeIntent, now: Millis): void {
    const key = keyOf(intent);
    const accepted = this.#acceptedAt.get(key);
    if (accepted !== undefined) {
      this.#acceptedAt.delete(key);
      // Else a repeat: the first push was another server's.
      if (intent.attempts === 0) this.#parts.counters.dispatched(now - accepted);
    }
    const { table } = this.#parts;
    // One in the background is known to be connected.
    if (table.find(intent.user, intent.device) !== undefined) return;
    this.#leftAt.delete(key);
    this.#leftAt.set(key, now);
    for (const [oldest, at] of this.#leftAt) {
      if (now - at <= LATE_MS && this.#leftAt.size <= REMEMBERED) break;
      this.#leftAt.delete(oldest);
    }
  }

  /** An epoch is the time of the connection, by the clock of its server. */
  #appeared({ user, device, epoch, background }: Session): void {
    const key = keyOf({ user, device });
    // It reads what was accepted before.
    if (!background) this.#acceptedAt.delete(key);
    const left = this.#leftAt.get(key);
    if (left === undefined) return;
    this.#leftAt.delete(key);
    const now = this.#parts.clock.now();
    if (epoch <= left && now - left <= LATE_MS && !background) this.#parts.counters.spurious++;
  }

  /** One that cannot be composed, for a key that is none, holds up no other of its batch. */
  async #compose(
    intent: WakeIntent,
    server: ServerAddresses,
    largest: number | undefined,
  ): Promise<PushItem | undefined> {
    try {
      return await this.#parts.compose(intent, server, largest);
    } catch {
      return undefined;
    }
  }
}

interface Done {
  readonly user: string;
  readonly device: string;
  readonly call: string;
  readonly outcome: WakeOutcome;
}

function doneOf({ user, device, call }: WakeIntent, outcome: WakeOutcome): Done {
  return { user, device, call, outcome };
}

function keyOf({ user, device }: { readonly user: string; readonly device: string }): string {
  return `${user}\n${device}`;
}

function wakeOutcome(
  outcome: PushOutcome | undefined,
  intent: WakeIntent,
  named: string,
): WakeOutcome {
  switch (outcome?.kind) {
    case "sent":
      return { kind: "sent", named };
    case "gone":
      return { kind: "gone", token: intent.push.token };
    case "retry":
      return { kind: "later", delay: outcome.after };
    default:
      return { kind: "later", delay: REJECTED_MS };
  }
}
