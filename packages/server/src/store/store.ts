/**
 * The ports of what must survive. A backend implements all four on one database, because `hold` and `arrive`
 * each are one transaction over messages, devices and wake intents, and `circle` reads these beside ties.
 *
 * Every method rejects with {@link StoreUnavailable} when the database cannot be reached or refuses (disk full);
 * then nothing of the call happened, or all of it happened and the answer was lost: each is safe to repeat. A request that is
 * not one (an id that is not 16 bytes) rejects its own call with TypeError, and no other.
 *
 * Bytes given to a call must not be changed before it settles. Time (due, seen, leases) is the store's own.
 */
import type { Millis, PushRegistration, WakeClass } from "@beckon/protocol";

export class StoreUnavailable extends Error {
  override readonly name = "StoreUnavailable";
}

/** Names a row for `settle`; opaque, made by the backend, unique for the lifetime of the database. */
export type RowRef = number | string;

/** Identity of a message everywhere: the same sender, device and id are the same message. */
export interface MessageKey {
  readonly from: string;
  readonly fromDevice: string;
  /** 16 bytes. */
  readonly id: Uint8Array;
}

export interface HoldRequest {
  readonly key: MessageKey;
  /** The user whose devices the rows are for: the recipient, or for copies the sender's own user. */
  readonly user: string;
  /** Lane and number, for the order of `pending`: outbox incarnation, the recipient, n. */
  readonly outbox: number;
  readonly to: string;
  readonly n: number;
  /** The DELIVER body (see `deliverBody`), given back untouched. */
  readonly body: Uint8Array;
  /** Of payload and recipient: tells a repeat from a conflict. The copy for the sender's own user has the same. */
  readonly digest: string;
  /** Devices that need no row: they acknowledged, or are still being tried over their connection, or it is the sending device. */
  readonly exclude: readonly string[];
  /** Devices to which it was sent without an acknowledgement, "" if any: their rows are marked `redelivered`. */
  readonly sent: readonly string[];
  /** Id of the call that it ends, 16 bytes; empty: none. Ended in the same transaction, as by `WakeStore.end`, unless the hold is refused. */
  readonly ends: Uint8Array;
  /** True: a row for the user alone where the user has no durable device at all. False (copies): then no row. */
  readonly orUser: boolean;
  readonly wake: WakeRequest;
}

export interface WakeRequest {
  /** `none`: no intent. */
  readonly class: WakeClass;
  /** The accepting server: the one that the wake names. */
  readonly server: string;
  readonly conversation: string;
  readonly preview: string;
  /** When a new intent falls due: the store's clock plus this. */
  readonly delay: Millis;
  /** Of a call: how long it still rings; 0: it is a message. */
  readonly rings: Millis;
}

export type HoldResult =
  | {
      readonly outcome: "held";
      /**
       * The rows of this message for this user that are there now, old and new, those of `exclude` among the old. `device` "" is
       * the user's own row. Empty: no device was left to hold for.
       */
      readonly rows: readonly {
        readonly device: string;
        readonly row: RowRef;
        readonly isNew: boolean;
      }[];
      /** The set of the user's durable devices as the statement saw it. */
      readonly setVersion: number;
      readonly setSize: number;
      /** Devices whose intent this call made, or brought forward, to be due now. */
      readonly due: readonly string[];
      /** Devices that can be pushed to, and whose intent took this message on beside others. */
      readonly coalesced: number;
    }
  /** The key is held with another digest, for whichever user; nothing was written. */
  | { readonly outcome: "conflict" }
  /** Not one durable device of the user can take more (none was excluded, none has a row); nothing was written but `missed`. */
  | { readonly outcome: "full" };

export interface PendingRow {
  readonly row: RowRef;
  /** "": the user's own row. */
  readonly device: string;
  readonly key: MessageKey;
  readonly body: Uint8Array;
  readonly redelivered: boolean;
}

/** A place in the order of commits, made by `tail`. 0 is before the first, Infinity after the last: to learn the present one. */
export type StorePosition = number;

export interface MessageStore {
  /**
   * Durable when it resolves, and idempotent by key, user and device. It resolves the user's durable devices inside its own
   * statement: rows are for those (dormant ones left out) that are not in `exclude`. A device at its bound gets no row and is
   * marked `missed`. In the same transaction each device with a new row gets a wake intent, or its intent takes this message on:
   * activity + 1, generation + 1; class, conversation, server and preview of the newest message of the highest class
   * (message, silent). An intent whose rows are all gone counts as none: a new one starts. A row that was there already changes
   * no intent. The user's own rows gather an intent too, for the device that adopts them.
   *
   * A call has an intent of its own, due after its delay, for as long as it rings; then it is a message, which the device's intent takes on
   * and is due at once for (where that is leased: at `done`). Four calls ring at a device at a time; a further one is a message. One that has
   * ended (`end`) before it is held makes no intent.
   *
   * Of requests for one user none is seen, nor survives a failure, without those before it (L3). One result a request, in order.
   */
  hold(requests: readonly HoldRequest[]): Promise<readonly HoldResult[]>;
  /**
   * Every unsettled row of the device, and of the user alone; calls that ring and have no lane (n = 0) first, then lane by lane (from, fromDevice,
   * outbox, to; lanes in any order), by n, and in the order held where n is 0; at most `limit`. Reads what is committed when it starts, and at least what this handle was told is committed.
   */
  pending(user: string, device: string, limit: number): Promise<readonly PendingRow[]>;
  /** Idempotent. Rows that are not there are passed over. */
  settle(rows: readonly RowRef[]): Promise<void>;
  /** Marks rows as sent without an acknowledgement; they will be `redelivered`. */
  markSent(rows: readonly RowRef[]): Promise<void>;
  /**
   * The (user, device) pairs with unsettled rows that were committed after `since`, and where to ask from next: early enough that
   * no transaction that was open during this read is passed over (so a pair may come twice). At most `limit` pairs; `now` then
   * stands where the next page begins; fewer: there are no more.
   */
  tail(
    since: StorePosition,
    limit: number,
  ): Promise<{ readonly devices: readonly TailEntry[]; readonly now: StorePosition }>;
  /** Drops rows whose message is older than `before` (by its id's time), after marking each device that still had one `missed`. Answers how many. */
  expire(before: Millis): Promise<number>;
  close(): Promise<void>;
}

export interface TailEntry {
  readonly user: string;
  readonly device: string;
}

export interface Arrival {
  readonly user: string;
  readonly device: string;
  readonly durable: boolean;
  /** Spoken protocols; kept for selecting addresses. */
  readonly protocols: readonly string[];
  /** Only when changed. */
  readonly push?: PushRegistration;
  /** HELLO's epoch: the last WELCOME that the device has seen. */
  readonly lastEpoch: number;
  /** The epoch that this WELCOME will carry. */
  readonly epoch: number;
}

export interface ArrivalResult {
  readonly setVersion: number;
  readonly setSize: number;
  /** Unsettled rows for the device and for the user alone; counting stops at 10,000. */
  readonly held: number;
  /**
   * False if and only if something that was owed to the device was dropped and no WELCOME that the device has seen said so:
   * `missed` is cleared when `lastEpoch` is at or past the epoch that was told.
   */
  readonly recovered: boolean;
  /**
   * Generation of the device's wake intent, never used again for another; 0: it has none. The attempts of an existing one start
   * anew: it falls due in 10 s, or, where nothing was pushed yet, when it was due anyway, if that is later.
   */
  readonly generation: number;
  /** Of this intent, if something was pushed since the arrival before, or is being pushed: told once. */
  readonly wake?: ArrivedWake | undefined;
}

/** What the device's wake had done when it arrived. */
export interface ArrivedWake {
  /** ms since the last push was noted as sent; undefined: none was, since the arrival before. */
  readonly since: Millis | undefined;
  /** The server that this push named; "": none. */
  readonly named: string;
  /** It was leased: a push may have left, and not been noted yet. */
  readonly underWay: boolean;
}

export interface DeviceRecord {
  readonly device: string;
  readonly protocols: readonly string[];
  readonly push?: PushRegistration;
  /** Time of the last arrival or registration. */
  readonly seen: Millis;
  readonly dormant: boolean;
  /** It is not pushed to before that, which may be past. */
  readonly quietUntil?: Millis;
}

/** Version of the set of a user's durable devices, dormant ones left out, and how many there are. Unknown user: 0 and 0. */
export interface DurableSet {
  readonly user: string;
  readonly setVersion: number;
  readonly setSize: number;
}

export interface DeviceStore {
  /**
   * A device connects. Registers a durable one that is new (or dormant), takes on what changed, writes nothing when nothing did
   * (but `seen`, at most once an hour). A push registration takes its token from whichever other device has it: that one has none
   * from then on. The first durable device of a user takes over the rows that belong to the user alone,
   * and gets an intent for them; the 17th makes the longest unseen dormant. Each change of the set of durable devices raises its
   * version by exactly one, and makes it larger by one at most. A session device only reads.
   */
  arrive(arrival: Arrival): Promise<ArrivalResult>;
  /** Registers for push without a connection; the same rules. The newest wake key is kept; the SDK keeps the last two. */
  register(
    user: string,
    device: string,
    protocols: readonly string[],
    push: PushRegistration,
  ): Promise<{ setVersion: number; setSize: number }>;
  /** The device has no push registration any more; what is held for it stays. It is as if its push service had not known the token. */
  unregister(user: string, device: string): Promise<void>;
  /**
   * Log-out: the device, its rows, its quiet and its intent are gone. That raises the version of its user's set, also where it was dormant: it may be
   * connected, and its server has to look. The version outlives the user's last device.
   */
  forget(user: string, device: string): Promise<{ setVersion: number; setSize: number }>;
  /** Dormant ones too, in the order of their names. */
  devices(
    user: string,
  ): Promise<{ readonly setVersion: number; readonly devices: readonly DeviceRecord[] }>;
  /** The current sets of many users, for a server that could not hear of changes for a while. */
  sets(users: readonly string[]): Promise<readonly DurableSet[]>;
  /**
   * Devices unseen for 30 days, or unseen and with their push gone for 7, become dormant: nothing is held for them, what was is
   * dropped, and they are marked `missed` in any case. Answers the sets that changed.
   */
  retire(now: Millis): Promise<readonly DurableSet[]>;
}

/** A device with unsettled rows that is to be woken, for its messages or for one call. It exists as long as such rows do, or as a call is to be ended. */
export interface WakeIntent {
  readonly user: string;
  readonly device: string;
  readonly generation: number;
  readonly class: WakeClass;
  /** Id of the call that it is for, in hex; "": it is for messages. */
  readonly call: string;
  /** The call is over, and the device was pushed to for it: the class is `silent`. */
  readonly ended: boolean;
  /** Pushes sent so far since the device's last arrival. */
  readonly attempts: number;
  readonly activity: number;
  readonly conversation: string;
  readonly server: string;
  readonly preview: string;
  /** When the newest of its messages expires; of a call: when it rings no longer. */
  readonly expires: Millis;
  readonly protocols: readonly string[];
  readonly push: PushRegistration;
}

export type WakeOutcome =
  /**
   * Next due after 1 min, 10 min, 1 h; then no more until the device arrives, or a new message begins anew. For a call: after 8 s, and as it
   * rings no longer; for its end: no more. `named`: the server that it named.
   */
  | { readonly kind: "sent"; readonly named?: string }
  /** The device is connected after all, or the provider asks to wait: due again after `delay`, not counted as an attempt. */
  | { readonly kind: "later"; readonly delay: Millis }
  /** The push service does not know the token: the registration is removed if it is still this one; a newer one is due now. */
  | { readonly kind: "gone"; readonly token: string };

export interface Mute {
  readonly conversation: string;
  readonly until: Millis;
}

export interface WakeStore {
  /**
   * Claims intents that are due and whose device has a push registration, longest due first: nobody else gets them for
   * `leaseMs`. An intent without an unsettled row is deleted instead. At most `limit`. Those of registrations with the providers in
   * `except` are passed over.
   */
  claim(
    owner: string,
    leaseMs: Millis,
    limit: number,
    except?: readonly string[],
  ): Promise<readonly WakeIntent[]>;
  /**
   * What became of claimed intents; `call` as claimed. Ignored where the lease is another's by now, or the device has arrived since. What
   * could not wait (a call that rings no longer, an end) and came during the lease makes the intent due at once after `sent`.
   */
  done(
    owner: string,
    outcomes: readonly {
      readonly user: string;
      readonly device: string;
      readonly call: string;
      readonly outcome: WakeOutcome;
    }[],
  ): Promise<void>;
  /**
   * These calls are over, at all devices of both users: their intents are gone. A device that was pushed to for one, or may have been, and has
   * not arrived since is to be told so, at once and within 10 min: by an intent with `ended`. The rows stay. Idempotent; a call that is not known is
   * remembered for 3 min, should it come to be held yet. At most 16 calls of a user are remembered.
   */
  end(endings: readonly Ending[]): Promise<void>;
  /** Deletes the intent if it still is of this generation and the device has no unsettled row. Answers its present generation, 0 when there is none left. */
  clear(user: string, device: string, generation: number): Promise<number>;
  /**
   * The device was here and has gone: its intent, if it has one, can be claimed at once, and its attempts start anew. A push that was
   * sent while it was here was none for what it left behind (L5).
   */
  leave(user: string, device: string): Promise<void>;
  /** Time until the next intent can be claimed; undefined when there is none. Bounded by a scan of one index. */
  nextDue(): Promise<Millis | undefined>;
  /**
   * `until` past: no longer.
   *
   * With a conversation (`WakeRequest.conversation`): what is held for the user from then on as a message of it, and is no call, wakes none of
   * the user's devices: it makes no intent, and none takes it on. An intent that has nothing else to say is gone. At most 1,000 a user
   * (`MUTES_PER_USER`); one more, and the one that ends first is forgotten.
   *
   * With "": this device's intents cannot be claimed before it. What falls due meanwhile falls due then; what has waited for an end that is
   * brought forward falls due with it. Answers whether the user has such a device.
   */
  quiet(user: string, device: string, conversation: string, until: Millis): Promise<boolean>;
  /** Conversations that wake none of the user's devices now, in the order of their names. */
  mutes(user: string): Promise<readonly Mute[]>;
}

/** A call between two users. */
export interface Ending {
  /** 16 bytes. */
  readonly call: Uint8Array;
  readonly between: readonly [string, string];
}

/** The sums of a tie as they were at a time: messages that two users have exchanged, decayed slowly and fast (`weight.ts`). */
export interface TieSums {
  readonly long: number;
  readonly short: number;
  /** Milliseconds since 1970. */
  readonly at: Millis;
}

/**
 * What has come to a pair: to be added to what is stored, both decayed to the later of the two times. So it does not matter which server's
 * addition comes first.
 */
export interface TieChange extends TieSums {
  /** The smaller of the two ids; a pair is told once. */
  readonly a: string;
  readonly b: string;
}

export interface StoredTie extends TieSums {
  readonly peer: string;
  /**
   * The server that the newest push to a device of the peer named, of those that are noted as sent and have not led to a connection of their
   * device yet. Undefined: there is none.
   */
  readonly named?: string;
}

/** Time is that of the ties, as who calls has it. */
export interface AssociateStore {
  /**
   * Adds each change to what is stored of the pair, for both users, both sums decayed to the later of the two times, so that it does not matter
   * whose change comes first. Durable when it resolves. A repeat after a failure counts twice, which is harmless; a call of more than
   * 500 changes may have happened in part. Of more than 96 ties of a user all but the 64 strongest (`TIES_PER_USER`) are dropped.
   */
  strengthen(changes: readonly TieChange[]): Promise<void>;
  /** The user's strongest associates by weight at `now`, the strongest first, of two that are equal the smaller id; at most `k`, and 64. */
  circle(user: string, k: number, now: Millis): Promise<readonly StoredTie[]>;
  /**
   * Drops ties that have decayed to nothing (`FAINT`) by `now`: of 5,000 ties and a user's more, of users after the one named. Answers after
   * whom to go on; "": these were the last.
   */
  fade(after: string, now: Millis): Promise<string>;
  /** Nothing that names the user is left among ties. */
  erase(user: string): Promise<void>;
}

/** One database. */
export interface Store {
  readonly messages: MessageStore;
  readonly devices: DeviceStore;
  readonly wakes: WakeStore;
  readonly associates: AssociateStore;
}

/** Bounds that a backend is made with. */
export interface StoreLimits {
  /** Unsettled rows a device (and a user without a device). */
  readonly heldPerDevice: number;
  readonly durableDevicesPerUser: number;
  readonly dormantAfterMs: Millis;
  readonly goneDormantAfterMs: Millis;
  /** How long a message is kept, by its id's time. */
  readonly retentionMs: Millis;
}

export const DEFAULT_STORE_LIMITS: StoreLimits = {
  heldPerDevice: 10_000,
  durableDevicesPerUser: 16,
  dormantAfterMs: 30 * 24 * 3600 * 1000,
  goneDormantAfterMs: 7 * 24 * 3600 * 1000,
  retentionMs: 30 * 24 * 3600 * 1000,
};
