import type { AckStatus, Millis, SendErrorCode, WakeClass } from "@beckon/protocol";
import { decodeDeliverBody } from "@beckon/protocol";

import type { Deliveries, Lately } from "../cluster/control-messages.ts";
import type { BusTraffic } from "../cluster/metered-bus.ts";
import { Distribution } from "../lib/distribution.ts";
import { RecentCounts } from "../lib/recent-counts.ts";
import type { PushOutcome } from "../push/provider.ts";
import type { ArrivedWake, PendingRow } from "../store/store.ts";

/** What became of a wake. `impossible`: nothing can be said to the device; `postponed`: it is here, or was a moment ago. */
export type WakeResult = PushOutcome["kind"] | "impossible" | "postponed";

/** Where a device connected that had been pushed to: at the server that the push named, at another, or it had named none. */
export type WokenAt = "named" | "elsewhere" | "none";

/** Stands for all push services that this server does not have: devices name what they like. */
const UNKNOWN = "unknown";

// Upper bounds, seconds.
const DISPATCH = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10];
const ANSWER = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5];
const WAKING = [0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3_600, 21_600, 86_400];
const HELD = [0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3_600, 21_600, 86_400, 604_800];

const BUCKET_MS: Millis = 10_000;
const FIVE_MINUTES_MS: Millis = 300_000;
const HOUR_MS: Millis = 3_600_000;

/** Deliveries, as they are counted by time. */
const LOCAL = 0;
const REMOTE = 1;
const WAKE_LOCAL = 2;
const WAKE_REMOTE = 3;
const KINDS = 4;

/** What became of messages on this server. Plain numbers: counting costs nothing, rendering reads them (B4). */
export class Counters {
  readonly #server: string;
  readonly #recent: RecentCounts;
  ackedDelivered = 0;
  ackedHeld = 0;
  /** Live deliveries of messages accepted here, acknowledged over a connection to this server. */
  deliveredLocal = 0;
  /** The same over a connection to another server. */
  deliveredRemote = 0;
  /** Rows held. */
  held = 0;
  /** Held messages delivered by this server that it had accepted itself. */
  heldDeliveredLocal = 0;
  /** Held messages delivered by this server that another one had accepted. */
  heldDeliveredRemote = 0;
  /** From the acceptance of such messages until the device has acknowledged them. */
  readonly heldFor: Distribution = new Distribution(HELD);
  readonly refusals: Map<string, number> = new Map();
  /** Connections that were closed, by the error that says why. */
  readonly failures: Map<string, number> = new Map();

  /** What went over the bus. */
  readonly bus: BusTraffic = { out: 0, in: 0 };

  /** Wakes by push service, class and what became of them. */
  readonly pushes: Map<string, Map<WakeClass, Map<WakeResult, number>>> = new Map();
  /** Messages for a device whose wake spoke for others already. */
  coalesced = 0;
  /** Devices that connected here after they had been pushed to. */
  readonly woken: Record<WokenAt, number> = { named: 0, elsewhere: 0, none: 0 };
  /** Wakes that left for a device that was connected: the session table was late to say so (L5). */
  spurious = 0;
  /** From the acceptance of a message by this server until it gave its wake to the push service. */
  readonly dispatch: Distribution = new Distribution(DISPATCH);
  /** How long push services take for a batch, by their names. */
  readonly answers: ReadonlyMap<string, Distribution>;
  /** From the push until the device's connection here. */
  readonly waking: Distribution = new Distribution(WAKING);

  /** `providers`: the names of its push services. `now`: monotonic. */
  constructor(server: string, providers: Iterable<string>, now: () => Millis) {
    this.#server = server;
    this.#recent = new RecentCounts(KINDS, BUCKET_MS, HOUR_MS, now);
    this.answers = new Map([...providers].map((name) => [name, new Distribution(ANSWER)]));
  }

  answered(status: AckStatus): void {
    if (status === "delivered") this.ackedDelivered++;
    else this.ackedHeld++;
  }

  refused(code: SendErrorCode): void {
    this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
  }

  /** Of the last five minutes and of the last hour, each up to 10 s longer, or since the start (B4). */
  get lately(): Lately {
    return { fiveMinutes: this.#within(FIVE_MINUTES_MS), hour: this.#within(HOUR_MS) };
  }

  delivered(here: boolean): void {
    this.#recent.add(here ? LOCAL : REMOTE);
    if (here) this.deliveredLocal++;
    else this.deliveredRemote++;
  }

  heldDelivered(row: PendingRow, user: string, now: Millis): void {
    const body = decodeDeliverBody(row.body);
    // A copy of what the user's other device sent is no delivery.
    if (body.to !== user) return;
    const here = body.server === this.#server;
    this.#recent.add(here ? WAKE_LOCAL : WAKE_REMOTE);
    if (here) this.heldDeliveredLocal++;
    else this.heldDeliveredRemote++;
    this.heldFor.observe(seconds(now - body.at));
  }

  failed(code: string): void {
    this.failures.set(code, (this.failures.get(code) ?? 0) + 1);
  }

  pushed(provider: string, wake: WakeClass, result: WakeResult): void {
    const of = inner(this.pushes, this.answers.has(provider) ? provider : UNKNOWN);
    const results = inner(of, wake);
    results.set(result, (results.get(result) ?? 0) + 1);
  }

  /** Wakes that push services took. */
  get sent(): number {
    let sent = 0;
    for (const classes of this.pushes.values()) {
      for (const results of classes.values()) sent += results.get("sent") ?? 0;
    }
    return sent;
  }

  dispatched(ms: Millis): void {
    this.dispatch.observe(seconds(ms));
  }

  pushAnswered(provider: string, ms: Millis): void {
    this.answers.get(provider)?.observe(seconds(ms));
  }

  /**
   * A device has connected here whose wake had done this. `hinted`: the server whose wake led it here, as it says. What was not noted when it
   * came counts if it says so; and is no sample of how long waking takes.
   */
  arrived({ since, named }: ArrivedWake, hinted: string): void {
    if (since !== undefined) this.waking.observe(seconds(since));
    else if (hinted === "") return;
    const name = since === undefined ? hinted : named;
    this.woken[name === "" ? "none" : name === this.#server ? "named" : "elsewhere"]++;
  }

  #within(ms: Millis): Deliveries {
    const counts = this.#recent.within(ms);
    return {
      local: counts[LOCAL]!,
      remote: counts[REMOTE]!,
      wakeLocal: counts[WAKE_LOCAL]!,
      wakeRemote: counts[WAKE_REMOTE]!,
    };
  }
}

/** Clocks of two servers may differ by more than there is between them. */
function seconds(ms: Millis): number {
  return Math.max(0, ms) / 1_000;
}

function inner<Key, InnerKey, Value>(
  map: Map<Key, Map<InnerKey, Value>>,
  key: Key,
): Map<InnerKey, Value> {
  let found = map.get(key);
  if (found === undefined) map.set(key, (found = new Map()));
  return found;
}
