/**
 * Where the devices that reach this server, or are connected to it, belong: {@link placeArrival} and its like, fed with what this
 * server knows. What comes of it is a hint: whoever cannot be decided about in time stays where it is (L9).
 */
import type { Millis, ServerAddresses } from "@beckon/protocol";

import type { DeviceDecision } from "../cluster/control-messages.ts";
import type { Member, Membership } from "../cluster/membership.ts";
import { AgingMap } from "../lib/aging-map.ts";
import type { Clock } from "../lib/clock.ts";
import type { Associates } from "./associates.ts";
import { type Place, ramp } from "./places.ts";
import {
  type Attraction,
  type Decision,
  NOWHERE,
  placeArrival,
  type Rule,
  takesHint,
} from "./policy.ts";
import { Seats } from "./seats.ts";
import {
  type AskedDevice,
  type AssociateReason,
  type PlaceReason,
  reasonsOf,
  type Tie,
  type Verdict,
  verdictOf,
} from "./why.ts";

/** What is asked of the session table. */
export interface Whereabouts {
  lookup(user: string): readonly { readonly server: string }[];
  sizeOf(server: string): number;
  /** What it says of others may be relied on. */
  readonly trusted: boolean;
}

/** What is known of who talks to whom. */
export interface KnownCircles {
  readonly associates: Associates;
  /** Reads the user's circle; answers by peer which server a notification names that has led to no connection yet. Never rejects. */
  load(user: string): Promise<ReadonlyMap<string, string>>;
}

export interface PlacementParts {
  /** Name of this server. */
  readonly server: string;
  readonly clock: Clock;
  /** By which members say since when they are up. */
  readonly now: () => Millis;
  readonly members: Membership;
  readonly table: Whereabouts;
  readonly circles: KnownCircles;
  readonly rule: Rule;
  /** Whether connected devices are moved, too. */
  readonly moves: boolean;
  /** The addresses of the server that suit a device which speaks these protocols; there may be none. */
  readonly addresses: (to: Member, protocols: readonly string[]) => ServerAddresses;
  /** From 0 to 1, without 1. */
  readonly random: () => number;
}

/** A device that has reached this server, before it is welcomed. */
export interface Arriving {
  readonly user: string;
  readonly device: string;
  /** The server whose wake led it here; "": none did. */
  readonly hinted: string;
  /** The recipient first in its outbox; "": there is none. */
  readonly intent: string;
  readonly protocols: readonly string[];
}

export interface Redirect {
  readonly server: ServerAddresses;
  readonly why: RedirectReason;
}

/** The servers as this server sees them at a moment. */
export interface View {
  readonly members: readonly Member[];
  /** In the order of the members. */
  readonly places: readonly Place[];
  readonly index: ReadonlyMap<string, number>;
  /** Index of this server. */
  readonly here: number;
}

/** And what draws a user to each. */
export interface Outlook extends View {
  readonly attraction: Attraction;
}

/** Why a user's devices are where they are, as this server sees it. */
export interface Reasons {
  readonly moves: boolean;
  readonly redirectGain: number;
  readonly moveGain: number;
  readonly servers: readonly PlaceReason[];
  /** How many associates are known. */
  readonly associates: number;
  /** The strongest first. */
  readonly strongest: readonly AssociateReason[];
  /** In the order of the devices that were asked about. */
  readonly verdicts: readonly Verdict[];
}

/** Redirects by what they were for. */
export type RedirectReason = Exclude<Decision["why"], "stay">;

/** For so long a device is not sent again to a server that it could not reach. */
const AVOID_MS: Millis = 600_000;
/** Devices of which that is remembered; of more the one whose trouble is oldest is forgotten. */
const AVOIDING = 16_384;
/** Devices of which the last decision is remembered, for who asks why they are where they are (B4); of more the oldest is forgotten. */
const DECISIONS = 65_536;
/** Associates that are told of, and no more. */
const STRONGEST = 10;
const NOBODY: ReadonlyMap<string, string> = new Map();

export class Placement {
  readonly redirects: Record<RedirectReason, number> = {
    hint: 0,
    attraction: 0,
    room: 0,
    full: 0,
  };
  /** Redirects that led nowhere: the device came back. */
  unreached = 0;
  /** Devices that were asked to go elsewhere while connected (B2); those of them that did not; and those that came here in that way. */
  moves = 0;
  declined = 0;
  moved = 0;
  readonly #parts: PlacementParts;
  /** Of devices that were sent elsewhere and have not been seen there. */
  readonly #seats: Seats;
  readonly #decisions = new AgingMap<DeviceDecision>(DECISIONS);
  readonly #avoiding = new AgingMap<{ readonly server: string; readonly until: Millis }>(AVOIDING);

  constructor(parts: PlacementParts) {
    this.#parts = parts;
    this.#seats = new Seats(() => parts.clock.monotonic());
  }

  /** Where the device should be instead, and why; undefined: here. */
  async arrive(arriving: Arriving): Promise<Redirect | undefined> {
    const { circles, rule, server } = this.#parts;
    const named = circles.load(arriving.user);
    const { places, here } = this.view(this.#avoidedBy(deviceOf(arriving.user, arriving.device)));
    // It is read for later, where it cannot change what becomes of the device: there is no other server, or its message waits here.
    if (places.length === 1 || (arriving.hinted === server && takesHint(places, here, rule))) {
      return undefined;
    }
    return this.#send(arriving, this.#place(arriving, await named));
  }

  /** A device that is not to be redirected has come: one that was sent elsewhere, and is back, could not get in there. */
  returned(user: string, device: string): void {
    // For later.
    void this.#parts.circles.load(user);
    const key = deviceOf(user, device);
    const server = this.#seats.of(key);
    if (server === undefined) return;
    this.#seats.release(key);
    this.unreached++;
    this.#avoiding.set(key, { server, until: this.#parts.clock.monotonic() + AVOID_MS });
  }

  /** The device is connected, here or elsewhere: its load is counted there. */
  appeared(user: string, device: string): void {
    this.#seats.release(deviceOf(user, device));
  }

  /** The device is told to go elsewhere: a seat is kept for it there. */
  send(user: string, device: string, decision: Omit<DeviceDecision, "at">): void {
    const key = deviceOf(user, device);
    this.#seats.reserve(key, decision.to);
    this.#decisions.set(key, { at: this.#parts.clock.now(), ...decision });
  }

  /** What this server decided last of the device; undefined: nothing that it remembers. */
  decisionOf(user: string, device: string): DeviceDecision | undefined {
    return this.#decisions.get(deviceOf(user, device));
  }

  /** What the user would be placed by. `named`: by peer, the server that a notification names. */
  outlook(user: string, device: string, named: ReadonlyMap<string, string> = NOBODY): Outlook {
    const view = this.view(this.#avoidedBy(deviceOf(user, device)));
    return { ...view, attraction: this.#attraction(user, view.index, named) };
  }

  /** `avoided`: a server that takes nobody of those who are to be placed. */
  view(avoided?: string): View {
    const { members: membership, server, now, table } = this.#parts;
    const members = membership.list();
    const { trusted } = table;
    const places = members.map(({ name, state, load, capacity, cpu, since }): Place => ({
      name,
      state: name === avoided ? "draining" : state,
      // Heartbeats are older than the table, but whole.
      load: (trusted ? table.sizeOf(name) : load) + this.#seats.at(name),
      capacity,
      // Whoever takes more devices than others has as much larger a share.
      weight: ramp(now() - since) * Math.max(1, capacity),
      busy: cpu / 1_000,
    }));
    const index = new Map(members.map(({ name }, i) => [name, i]));
    return { members, places, index, here: index.get(server)! };
  }

  /** Why the user's devices are where they are, and where they would go now: by its circle as it is stored, whoever is asked (B4). */
  async explain(user: string, devices: readonly AskedDevice[]): Promise<Reasons> {
    const { circles, table, rule, moves } = this.#parts;
    const named = await circles.load(user);
    const ties = circles.associates.top(user, Infinity).map(({ peer, weight }): Tie => {
      const servers = table.lookup(peer).map(({ server }) => server);
      return { user: peer, weight, servers, named: named.get(peer) };
    });
    const { attraction, places } = this.outlook(user, "", named);
    const isHeldFor = devices.some(({ durable }) => durable);
    return {
      moves,
      redirectGain: rule.redirectGain,
      moveGain: rule.moveGain,
      servers: reasonsOf(attraction, places, ties, rule),
      associates: ties.length,
      strongest: ties.slice(0, STRONGEST).map((tie) => ({
        ...tie,
        named: tie.servers.length === 0 ? (tie.named ?? null) : null,
      })),
      verdicts: devices.map((device) => {
        const seen = this.outlook(user, device.device, named);
        const mayMove = moves && (device.durable || !isHeldFor);
        return verdictOf(device, seen.attraction, seen.places, rule, mayMove);
      }),
    };
  }

  #place(
    { user, device, hinted, intent }: Arriving,
    named: ReadonlyMap<string, string>,
  ): { outlook: Outlook; decision: Decision } {
    const { table, server, rule, random } = this.#parts;
    const outlook = this.outlook(user, device, named);
    const { members, places, attraction, here } = outlook;
    const wanted = intent === "" || intent === user ? undefined : table.lookup(intent)[0]?.server;
    const decision = placeArrival(
      {
        attraction,
        arrived: here,
        hint: hinted === server ? here : NOWHERE,
        intent: wanted === undefined ? NOWHERE : members.findIndex(({ name }) => name === wanted),
      },
      places,
      rule,
      random,
    );
    return { outlook, decision };
  }

  #send(
    { user, device, protocols }: Arriving,
    { outlook, decision }: { outlook: Outlook; decision: Decision },
  ): Redirect | undefined {
    const { to, why } = decision;
    if (to === NOWHERE || to === outlook.here || why === "stay") return undefined;
    const member = outlook.members[to]!;
    const server = this.#parts.addresses(member, protocols);
    // It speaks nothing that is spoken there.
    if (server.addresses.length === 0) return undefined;
    const here = outlook.attraction[outlook.here]!;
    const there = outlook.attraction[to]!;
    this.send(user, device, {
      kind: "redirect",
      why,
      from: this.#parts.server,
      to: member.name,
      attraction: { here, there },
      gain: there - here,
    });
    this.redirects[why]++;
    return { server, why };
  }

  #avoidedBy(key: string): string | undefined {
    const avoided = this.#avoiding.get(key);
    if (avoided === undefined) return undefined;
    if (avoided.until > this.#parts.clock.monotonic()) return avoided.server;
    this.#avoiding.delete(key);
    return undefined;
  }

  /** An associate draws with each connection: what is written goes to all of them. */
  #attraction(
    user: string,
    index: ReadonlyMap<string, number>,
    named: ReadonlyMap<string, string>,
  ): Float64Array {
    const { table, circles } = this.#parts;
    const attraction = new Float64Array(index.size);
    const draw = (server: string | undefined, weight: number): void => {
      const at = server === undefined ? undefined : index.get(server);
      if (at !== undefined) attraction[at]! += weight;
    };
    circles.associates.each(user, (peer, weight) => {
      const sessions = table.lookup(peer);
      // Whoever is on the way comes where its notification says (M13).
      if (sessions.length === 0) draw(named.get(peer), weight);
      for (const { server } of sessions) draw(server, weight);
    });
    return attraction;
  }
}

/** Names a device of a user; ids have no control characters. */
export function deviceOf(user: string, device: string): string {
  return `${user}\n${device}`;
}
