import type { Clock } from "../lib/clock.ts";
import { AgingMap } from "../lib/aging-map.ts";
import { deviceKey, Departures } from "./departures.ts";
import { Publication } from "./publication.ts";
import { setOf, standingOf, type UserDevices } from "./member-reading.ts";
import { SessionIndex } from "./session-index.ts";
import type { OpenedSession, Session, SessionChange, SessionTable } from "./table.ts";

export interface OwnedTableOptions {
  readonly server: string;
  readonly incarnation: number;
  readonly clock: Clock;
  /** See {@link SessionIndex}. */
  readonly hideMs: number;
  readonly horizonMs: number;
  readonly isTrusted: () => boolean;
  /** The others have something to be told. */
  readonly onOwnChange: () => void;
  readonly onOpened: (user: string) => void;
  /** Whether an own entry's durable device is still one has to be read from the store. */
  readonly onDoubted: (user: string) => void;
  /** Sets that were heard of lately had to be forgotten. */
  readonly onForgotten: () => void;
}

/** How far ahead of the clock a device may push its epoch by saying that it had a high one. */
const EPOCH_AHEAD_MS = 366 * 24 * 3600 * 1000;
/** Epochs that were given and not yet opened; at the bound the oldest is forgotten, and two connections might get one epoch. */
const GIVEN_LIMIT = 4096;

/** The {@link SessionTable} of one server: all partitions, and what is to be told of its own. */
export class OwnedTable implements SessionTable {
  readonly server: string;
  readonly index: SessionIndex;
  readonly publication: Publication;
  readonly #options: OwnedTableOptions;
  readonly #departures = new Departures();
  readonly #given = new AgingMap<number>();
  readonly #listeners = new Set<(change: SessionChange) => void>();

  constructor(options: OwnedTableOptions) {
    const { server, incarnation, clock, hideMs, horizonMs, onForgotten } = options;
    this.server = server;
    this.#options = options;
    this.index = new SessionIndex({
      own: server,
      now: () => clock.monotonic(),
      hideMs,
      horizonMs,
      onLifted: (entry) => {
        this.#ownChanged(entry.user, entry.device);
        this.#doubt(entry);
      },
      onChange: (change) => this.#tell(change),
      onForgotten,
    });
    this.publication = new Publication({ server, incarnation, index: this.index });
  }

  lookup(user: string): readonly Session[] {
    return this.index.lookup(user);
  }

  find(user: string, device: string): Session | undefined {
    return this.index.find(user, device);
  }

  nextEpoch(user: string, device: string, lastEpoch: number): number {
    const now = this.#options.clock.now();
    const key = deviceKey(user, device);
    const epoch = Math.max(
      now,
      Math.min(lastEpoch, now + EPOCH_AHEAD_MS) + 1,
      this.index.highestEpoch(user, device) + 1,
      (this.#given.get(key) ?? 0) + 1,
    );
    this.#given.set(key, epoch);
    if (this.#given.size > GIVEN_LIMIT) this.#given.delete(this.#given.oldest!);
    return epoch;
  }

  open(opened: OpenedSession): void {
    const session = { ...opened, member: opened.durable };
    const { user, device, epoch } = session;
    if ((this.#given.get(deviceKey(user, device)) ?? 0) <= epoch) {
      this.#given.delete(deviceKey(user, device));
    }
    const own = this.index.get(this.server, user, device);
    if (own !== undefined && own.epoch >= epoch) {
      const before = { ...session, server: this.server };
      this.#tell({ kind: "appeared", session: this.index.find(user, device) ?? own, before });
      return;
    }
    this.#ownChanged(user, device);
    this.index.put(session, this.server);
    this.#options.onOpened(user);
    this.#doubt(this.index.get(this.server, user, device)!);
  }

  setBackground(user: string, device: string, epoch: number, background: boolean): void {
    const own = this.index.get(this.server, user, device);
    if (own?.epoch !== epoch || own.background === background) return;
    this.#ownChanged(user, device);
    this.index.put({ ...own, background }, this.server);
  }

  close(user: string, device: string, epoch: number, goodbye = false): void {
    const own = this.index.get(this.server, user, device);
    if (own?.epoch !== epoch) return;
    this.publication.entryRemoved(own, goodbye);
    this.#options.onOwnChange();
    this.index.remove(this.server, user, device, goodbye);
  }

  announceSet(user: string, setVersion: number, setSize: number): void {
    if (!this.index.takeSet(user, { setVersion, setSize })) return;
    this.publication.setAnnounced({ user, setVersion, setSize });
    this.#options.onOwnChange();
  }

  wasConnectedWithin(user: string, device: string, ms: number): boolean {
    if (this.find(user, device) !== undefined) return true;
    const departed = this.#departures.of(user, device);
    return departed !== undefined && this.#options.clock.monotonic() - departed <= ms;
  }

  /** What the store says of the user's devices. False: entries are in doubt that it is too old for. */
  takeDevices(user: string, read: UserDevices): boolean {
    this.index.takeSet(user, setOf(read));
    const doubted = this.index.entriesOf(this.server, user).filter(isDoubtful);
    const standings = doubted.map((entry) => [entry, standingOf(entry, read)] as const);
    for (const [entry, standing] of standings) {
      if (standing !== "member") continue;
      this.#ownChanged(user, entry.device);
      this.index.put({ ...entry, member: true }, this.server);
    }
    for (const [session, standing] of standings) {
      if (standing === "forgotten") this.#tell({ kind: "revoked", session });
    }
    return standings.every(([, standing]) => standing !== "unknown");
  }

  get ownSize(): number {
    return this.index.sizeOf(this.server);
  }

  sizeOf(server: string): number {
    return this.index.sizeOf(server);
  }

  ownUsers(): Iterable<string> {
    return this.index.usersOf(this.server);
  }

  get trusted(): boolean {
    return this.#options.isTrusted();
  }

  onChange(listener: (change: SessionChange) => void): () => void {
    const own = (change: SessionChange): void => listener(change);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  #ownChanged(user: string, device: string): void {
    this.publication.entryChanged(user, device);
    this.#options.onOwnChange();
  }

  #doubt(entry: Session): void {
    if (isDoubtful(entry)) this.#options.onDoubted(entry.user);
  }

  #tell(change: SessionChange): void {
    if (change.kind === "gone") {
      const { user, device } = change.session;
      if (change.goodbye === true) this.#departures.forget(user, device);
      else this.#departures.add(user, device, this.#options.clock.monotonic());
    }
    for (const listener of this.#listeners) listener(change);
  }
}

function isDoubtful({ durable, member }: Session): boolean {
  return durable && !member;
}
