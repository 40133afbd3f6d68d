import type { Address, Millis } from "@beckon/protocol";
import type { Clock } from "../lib/clock.ts";
import type { Heartbeat, ServerState } from "./session-messages.ts";

/** A server of the system, as its last heartbeat has it. */
export interface Member {
  readonly name: string;
  readonly incarnation: number;
  readonly state: "up" | "draining";
  /** Connections. */
  readonly load: number;
  /** Connections that it takes at most; 0: it does not say. */
  readonly capacity: number;
  /** It has as many as it takes. */
  readonly full: boolean;
  /** Thousandths of one CPU that its process used lately. */
  readonly cpu: number;
  /** Version of its software. */
  readonly software: string;
  readonly addresses: readonly Address[];
  /** When it came up, by its own clock. */
  readonly since: Millis;
}

export type MemberChange =
  | { readonly kind: "joined"; readonly member: Member }
  /** Another state or other addresses; a new load alone is no change. */
  | { readonly kind: "changed"; readonly member: Member }
  /** It said so, or was silent for the lease. */
  | { readonly kind: "left"; readonly member: Member };

/** The servers of the system, this one among them, as far as this one knows. */
export interface Membership {
  /** Ascending by name. */
  list(): readonly Member[];
  get(name: string): Member | undefined;
  /** How long ago it was heard last, ms: 0 of this server, undefined of one that is not known. */
  silence(name: string): Millis | undefined;
  /** Of this server; the others hear of it at once. */
  setState(state: "up" | "draining"): void;
  /** The answer ends the listening. */
  onChange(listener: (change: MemberChange) => void): () => void;
}

/** What a server tells of itself beside what it does. */
export interface ServerAbout {
  /** Connections that it takes at most. */
  readonly capacity: number;
  /** Thousandths of one CPU that its process used lately. */
  readonly cpu: () => number;
  /** Version of its software. */
  readonly software: string;
}

export interface MembersOptions {
  readonly server: string;
  readonly incarnation: number;
  readonly clock: Clock;
  readonly addresses: readonly Address[];
  readonly load: () => number;
  /** The time by which it says when it came up. Default: the clock's. */
  readonly sinceWhen?: (() => Millis) | undefined;
  /** What else is told of this server. */
  readonly about?: ServerAbout | undefined;
  /** Other servers that are kept; a heartbeat of one more is not heard. Default 1,024. */
  readonly limit?: number;
}

export type Hearing =
  /** Of an incarnation that is over, of a server too many, or of a stranger with this server's name. */
  | "ignored"
  | "joined"
  /** The same name, a new incarnation. */
  | "restarted"
  | "known"
  | "left";

interface Other {
  member: Member;
  /** By the monotonic clock. */
  heardAt: number;
}

const LIMIT = 1024;
const UNSAID: ServerAbout = { capacity: 0, cpu: () => 0, software: "" };

/** What {@link Membership} is made of: fed with heartbeats, and told when to look for silence. */
export class Members implements Membership {
  /** Another process says that it is this server: one of the two has to go. */
  strangers = 0;
  readonly #options: MembersOptions;
  readonly #others = new Map<string, Other>();
  readonly #listeners = new Set<(change: MemberChange) => void>();
  #state: "up" | "draining" = "up";
  #since: Millis;

  constructor(options: MembersOptions) {
    this.#options = options;
    this.#since = this.#sinceWhen();
  }

  #sinceWhen(): Millis {
    const { clock, sinceWhen } = this.#options;
    return sinceWhen === undefined ? clock.now() : sinceWhen();
  }

  list(): readonly Member[] {
    const others = [...this.#others.values()].map(({ member }) => member);
    return [this.#self(), ...others].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  get(name: string): Member | undefined {
    return name === this.#options.server ? this.#self() : this.#others.get(name)?.member;
  }

  silence(name: string): Millis | undefined {
    if (name === this.#options.server) return 0;
    const other = this.#others.get(name);
    return other === undefined ? undefined : this.#options.clock.monotonic() - other.heardAt;
  }

  setState(state: "up" | "draining"): void {
    if (state === this.#state) return;
    this.#state = state;
    if (state === "up") this.#since = this.#sinceWhen();
    this.#tell({ kind: "changed", member: this.#self() });
  }

  onChange(listener: (change: MemberChange) => void): () => void {
    const own = (change: MemberChange): void => listener(change);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  /** What this server says of itself. */
  heartbeat(version: number, settled: boolean, isLast: boolean): Heartbeat {
    const { name, incarnation, load, addresses, since, capacity, cpu, software } = this.#self();
    const state: ServerState = isLast ? "left" : this.#state;
    const time = this.#options.clock.now();
    return {
      kind: "heartbeat",
      server: name,
      incarnation,
      version,
      settled,
      state,
      load,
      since,
      time,
      addresses,
      capacity,
      cpu,
      software,
    };
  }

  heard(heartbeat: Heartbeat): Hearing {
    const { server, incarnation, state } = heartbeat;
    if (server === this.#options.server) {
      this.strangers++;
      return "ignored";
    }
    const other = this.#others.get(server);
    if (other !== undefined && incarnation < other.member.incarnation) return "ignored";
    if (state === "left") {
      this.forget(server);
      return other === undefined ? "ignored" : "left";
    }
    if (other === undefined && this.#others.size >= (this.#options.limit ?? LIMIT))
      return "ignored";
    const { load, addresses, since, capacity, cpu, software } = heartbeat;
    const full = isFull(load, capacity);
    const about = { capacity, full, cpu, software };
    const member: Member = { name: server, incarnation, state, load, addresses, since, ...about };
    this.#others.set(server, { member, heardAt: this.#options.clock.monotonic() });
    if (other === undefined) {
      this.#tell({ kind: "joined", member });
      return "joined";
    }
    if (hasChanged(other.member, member)) this.#tell({ kind: "changed", member });
    return incarnation === other.member.incarnation ? "known" : "restarted";
  }

  /** Others of whom nothing was heard for `ms`. */
  silentFor(ms: number): readonly string[] {
    const before = this.#options.clock.monotonic() - ms;
    const silent: string[] = [];
    for (const [name, { heardAt }] of this.#others) if (heardAt < before) silent.push(name);
    return silent;
  }

  /** `ms` of silence do not count: nobody could be heard. */
  pardon(ms: number): void {
    const now = this.#options.clock.monotonic();
    for (const other of this.#others.values()) other.heardAt = Math.min(now, other.heardAt + ms);
  }

  forget(name: string): void {
    const other = this.#others.get(name);
    if (other === undefined) return;
    this.#others.delete(name);
    this.#tell({ kind: "left", member: other.member });
  }

  #self(): Member {
    const { server, incarnation, addresses, about = UNSAID } = this.#options;
    const load = this.#options.load();
    const { capacity, software } = about;
    return {
      name: server,
      incarnation,
      state: this.#state,
      load,
      capacity,
      full: isFull(load, capacity),
      cpu: about.cpu(),
      software,
      addresses,
      since: this.#since,
    };
  }

  #tell(change: MemberChange): void {
    for (const listener of this.#listeners) listener(change);
  }
}

function isFull(load: number, capacity: number): boolean {
  return capacity > 0 && load >= capacity;
}

function hasChanged(before: Member, after: Member): boolean {
  return (
    before.incarnation !== after.incarnation ||
    before.state !== after.state ||
    before.since !== after.since ||
    JSON.stringify(before.addresses) !== JSON.stringify(after.addresses)
  );
}
