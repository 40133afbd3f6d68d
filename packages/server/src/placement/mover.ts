/**
 * Moves devices while they are connected (B2): of two users who talk across servers the one who gains more. No server has the circles of both,
 * each has those of the users who are connected to it. So the server that accepts a message says with it what its sender would gain; the
 * recipient's server compares, and moves its own device, or asks the other to move the sender's.
 *
 * A message that crosses costs some 40 µs: a device is looked at once a second at most, and one whose circle is too small not at all.
 */
import type { Millis, ServerAddresses } from "@beckon/protocol";

import type { Membership } from "../cluster/membership.ts";
import type { SenderBid } from "../cluster/server-bus.ts";
import { AgingMap } from "../lib/aging-map.ts";
import type { Clock } from "../lib/clock.ts";
import type { Associates } from "./associates.ts";
import { deviceOf, type Outlook, type Placement, type PlacementParts } from "./placement.ts";
import { type Bid, type Move, outbids, placeCrossing, type Rule } from "./policy.ts";

/** A device's connection to this server. */
export interface Movable {
  readonly user: string;
  readonly device: string;
  readonly epoch: number;
  readonly protocols: readonly string[];
  /** It is welcome, has read what was held for it, little is in flight either way, and it had no call lately. */
  readonly isMovable: boolean;
  /** What the mover knows of it; nobody else's. Undefined: nobody has asked yet. */
  look: Look | undefined;
  /** [P-8.4] */
  move(to: ServerAddresses, reason: string): void;
}

export interface Look {
  /** By the mover's pace. */
  at: Millis;
  /** What it was found to gain then. */
  bid: Bid | undefined;
  /** It was told to go, and may be about to until then; monotonic. */
  leavingUntil: Millis;
}

/** What the session table has of a connection. */
interface MovableSession {
  readonly epoch: number;
  readonly background: boolean;
  readonly durable: boolean;
  /** How many durable devices its user has. */
  readonly setSize: number;
}

export interface MoverParts {
  /** Name of this server. */
  readonly server: string;
  readonly clock: Clock;
  /** The time by which devices rest. */
  readonly now: () => Millis;
  /** The time by which a device is looked at again: never goes back. */
  readonly pace: () => Millis;
  readonly rule: Rule;
  readonly placement: Placement;
  readonly associates: Associates;
  readonly members: Pick<Membership, "get">;
  readonly table: {
    find(user: string, device: string): MovableSession | undefined;
  };
  readonly addresses: PlacementParts["addresses"];
}

const LOOK_MS: Millis = 1_000;
/** After which a device that was asked to go, and is not seen elsewhere, has declined. */
const DECLINED_MS: Millis = 10_000;
/** Devices that rest, and of those that were asked; of more the one that began longest ago is forgotten, and may be moved again. */
const MOST = 65_536;

export class Mover {
  readonly #parts: MoverParts;
  /** By device: when it was moved or asked to last, here or from elsewhere to here. */
  readonly #rests = new AgingMap<Millis>(MOST);
  /** By device: when it will have declined; monotonic. In order of that. */
  readonly #asked = new AgingMap<Millis>(MOST);
  #cancel: (() => void) | undefined;

  constructor(parts: MoverParts) {
    this.#parts = parts;
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  /** The user sends a message over this connection to another server: what goes with it. */
  bid(sender: Movable): SenderBid {
    const now = this.#parts.clock.monotonic();
    const { look } = sender;
    if (look !== undefined && now < look.leavingUntil) return "leaving";
    return this.#isFresh(look) ? undefined : this.#look(sender);
  }

  /**
   * Another server's message was taken for this connection. True: its sender is the one to be moved. Where neither of two is better both
   * servers, which may be asked in the same moment, have to name the same one: the smaller id moves.
   */
  crossed(recipient: Movable, from: string, bid: SenderBid): boolean {
    // If both went they would miss each other.
    if (bid === "leaving") return false;
    const now = this.#parts.clock.monotonic();
    const { look } = recipient;
    if (look !== undefined && now < look.leavingUntil) return false;
    const isKnown = this.#isFresh(look);
    if (bid === undefined && isKnown) return false;
    // What it has bid itself a moment ago is what the other server compares with.
    const own = isKnown ? look!.bid : this.#look(recipient);
    if (own === undefined) return bid !== undefined;
    if (bid !== undefined && isSenderFirst(bid, from, own, recipient.user)) return true;
    this.#move(recipient, now);
    return false;
  }

  /** The server of a recipient has found that this connection is the one to be moved. */
  asked(sender: Movable): void {
    const now = this.#parts.clock.monotonic();
    if (now >= (sender.look?.leavingUntil ?? 0)) this.#move(sender, now);
  }

  /** A device is welcomed that has a connection to another server, and was asked to come here. */
  arrived(user: string, device: string, from: string): void {
    // Else it had to go.
    if (this.#parts.members.get(from)?.state !== "up") return;
    this.#parts.placement.moved++;
    this.#rest(deviceOf(user, device));
  }

  /** The device has a connection to another server. */
  appearedElsewhere(user: string, device: string): void {
    if (this.#asked.size > 0) this.#asked.delete(deviceOf(user, device));
  }

  #look(one: Movable): Bid | undefined {
    const now = this.#parts.pace();
    const best = this.#best(one)?.move;
    const bid = best && {
      // Compared as it is told.
      gain: Math.max(1, Math.round(best.gain)),
      associates: this.#parts.associates.count(one.user),
    };
    if (one.look === undefined) one.look = { at: now, bid, leavingUntil: 0 };
    else [one.look.at, one.look.bid] = [now, bid];
    return bid;
  }

  #best(one: Movable): { outlook: Outlook; move: Move } | undefined {
    const { associates, members, placement, rule, server, table } = this.#parts;
    const { user, device } = one;
    if (!one.isMovable || !associates.reach(user, rule.moveGain)) return undefined;
    if (this.#isResting(deviceOf(user, device))) return undefined;
    const session = table.find(user, device);
    if (session?.epoch !== one.epoch || session.background) return undefined;
    // What is on its way in that moment is held for its user's durable devices, and not for this one.
    if (!session.durable && session.setSize > 0) return undefined;
    // Who leaves a server that is being emptied is told so, in its turn.
    if (members.get(server)?.state !== "up") return undefined;
    const outlook = placement.outlook(user, device);
    const { attraction, here, places } = outlook;
    const mover = { attraction, here, associates: associates.count(user), movable: true };
    const move = placeCrossing([mover], places, rule);
    return move && { outlook, move };
  }

  /** Looked at anew: seats may have been given away meanwhile. */
  #move(one: Movable, now: Millis): void {
    const best = this.#best(one);
    if (best === undefined) return;
    const { outlook, move } = best;
    const { placement, server } = this.#parts;
    const key = deviceOf(one.user, one.device);
    this.#rest(key);
    const to = outlook.members[move.to]!;
    const addresses = this.#parts.addresses(to, one.protocols);
    // It speaks nothing that is spoken there.
    if (addresses.addresses.length === 0) return;
    const { attraction, here } = outlook;
    placement.send(one.user, one.device, {
      kind: "move",
      why: "attraction",
      from: server,
      to: to.name,
      attraction: { here: attraction[here]!, there: attraction[move.to]! },
      gain: move.gain,
    });
    placement.moves++;
    const until = now + DECLINED_MS;
    one.look = { at: this.#parts.pace(), bid: undefined, leavingUntil: until };
    this.#asked.set(key, until);
    this.#cancel ??= this.#parts.clock.after(DECLINED_MS, this.#expire);
    one.move(addresses, "attraction");
  }

  #isFresh(look: Look | undefined): boolean {
    return look !== undefined && this.#parts.pace() - look.at < LOOK_MS;
  }

  readonly #expire = (): void => {
    const now = this.#parts.clock.monotonic();
    this.#cancel = undefined;
    for (let oldest = this.#asked.oldest; oldest !== undefined; oldest = this.#asked.oldest) {
      const left = this.#asked.get(oldest)! - now;
      if (left > 0) {
        this.#cancel = this.#parts.clock.after(left, this.#expire);
        return;
      }
      this.#asked.delete(oldest);
      this.#parts.placement.declined++;
    }
  };

  #rest(key: string): void {
    this.#rests.set(key, this.#parts.now());
  }

  #isResting(key: string): boolean {
    const since = this.#rests.get(key);
    if (since === undefined) return false;
    if (this.#parts.now() - since < this.#parts.rule.restMs) return true;
    this.#rests.delete(key);
    return false;
  }
}

function isSenderFirst(bid: Bid, from: string, own: Bid, user: string): boolean {
  if (outbids(bid, own)) return true;
  return !outbids(own, bid) && from < user;
}
