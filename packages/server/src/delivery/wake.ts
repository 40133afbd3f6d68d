import type { ServerAddresses } from "@beckon/protocol";
import type { Clock } from "../lib/clock.ts";
import { PUSH_ANSWER_MS } from "../push/provider.ts";
import type { PushItem, PushOutcome, PushProvider } from "../push/provider.ts";
import type { Session, SessionTable } from "../sessions/table.ts";
import type { WakeIntent, WakeOutcome, WakeStore } from "../store/store.ts";
import type { Observer } from "./observer.ts";

const SCAN_MS = 1_000;
/** Longer than a push service may take to answer. */
const LEASE_MS = 2 * PUSH_ANSWER_MS;
const BATCH = 256;
/**
 * Batches that are with one push service at once. What is due beyond gathers in the store, for this server or another: a service that
 * hangs holds up nobody's wakes but its own.
 */
const UNDER_WAY = 8;
/** L5: a device that looked connected a moment ago gets this long to come back. */
const SETTLE_MS = 5_000;
/** A device that is connected is looked at again: it is closed when it stays silent (L6), or the table was late to hear that it left. */
const CONNECTED_MS = 500;
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
  /** Undefined: nothing can be said to this device. `largest`: bytes of the body, where the push service takes fewer than others. */
  compose(
    intent: WakeIntent,
    server: ServerAddresses,
    largest?: number,
  ): Promise<PushItem | undefined>;
  /** The device is connected, and something is held for it: it is to be looked for in the store (L4). */
  readonly onConnected: (session: Session) => void;
  readonly onOutcome: (outcome: PushOutcome["kind"] | "postponed" | "impossible") => void;
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

  constructor(parts: WakeParts) {
    this.#parts = parts;
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
    if (intents.length === 0 || this.#stopped) return;
    if (intents.length === BATCH) this.#again = true;
    this.#dispatch(intents);
  }

  #dispatch(intents: readonly WakeIntent[]): void {
    const byProvider = new Map<string, WakeIntent[]>();
    const later: { user: string; device: string; outcome: WakeOutcome }[] = [];
    for (const intent of intents) {
      const delay = this.#postpone(intent);
      if (delay > 0) {
        this.#parts.onOutcome("postponed");
        later.push({ user: intent.user, device: intent.device, outcome: { kind: "later", delay } });
        continue;
      }
      const group = byProvider.get(intent.push.provider);
      if (group === undefined) byProvider.set(intent.push.provider, [intent]);
      else group.push(intent);
    }
    if (later.length > 0) this.#follow("", this.#note(later));
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

  /** How long a wake has to wait because the device is here, or was a moment ago. */
  #postpone(intent: WakeIntent): number {
    const { table } = this.#parts;
    const session = table.find(intent.user, intent.device);
    if (session !== undefined && !session.background) {
      this.#parts.onConnected(session);
      return CONNECTED_MS;
    }
    if (session !== undefined || intent.class === "call") return 0;
    return table.wasConnectedWithin(intent.user, intent.device, SETTLE_MS) ? SETTLE_MS : 0;
  }

  async #push(name: string, intents: readonly WakeIntent[]): Promise<void> {
    const { providers, onOutcome, observer } = this.#parts;
    const provider = providers.get(name);
    const servers = intents.map(({ server }) => this.#parts.addressesOf(server));
    const items = await Promise.all(
      intents.map((intent, at) =>
        provider === undefined
          ? Promise.resolve(undefined)
          : this.#compose(intent, servers[at]!, provider.largestBody),
      ),
    );
    const sendable = items.filter((item) => item !== undefined);
    const outcomes = sendable.length > 0 ? await provider!.send(sendable) : [];
    let next = 0;
    const results = intents.map((intent, at) => {
      const outcome = items[at] === undefined ? undefined : outcomes[next++]!;
      const kind = outcome?.kind ?? "impossible";
      onOutcome(kind);
      const { user, device } = intent;
      observer?.pushed({
        user,
        device,
        names: servers[at]!.name,
        body: items[at]?.body,
        outcome: kind,
      });
      return { user, device, outcome: wakeOutcome(outcome, intent) };
    });
    await this.#note(results);
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

function wakeOutcome(outcome: PushOutcome | undefined, intent: WakeIntent): WakeOutcome {
  switch (outcome?.kind) {
    case "sent":
      return { kind: "sent" };
    case "gone":
      return { kind: "gone", token: intent.push.token };
    case "retry":
      return { kind: "later", delay: outcome.after };
    default:
      return { kind: "later", delay: REJECTED_MS };
  }
}
