/** What was decided last about each device, for who asks why it is where it is (B4). */
import type { Millis } from "@beckon/protocol";

import { AgingMap } from "../lib/aging-map.ts";

export interface PlacementDecision {
  /** Milliseconds since 1970. */
  readonly at: Millis;
  /** Sent on as it connected; moved while connected; sent away by a server that is being emptied. */
  readonly kind: "redirect" | "move" | "drain";
  /** `hint`: its push named that server; `attraction`: its associates are there; `room`, `full`: there is more room. */
  readonly why: "hint" | "attraction" | "room" | "full";
  readonly from: string;
  readonly to: string;
  /** What drew the user to the two servers, in weight. */
  readonly attraction: { readonly here: number; readonly there: number };
  /** By how much the other server is better, in weight: of a move less what the crowd there takes off. */
  readonly gain: number;
}

const MOST = 65_536;

/** The last decision of this server by device; at the bound the oldest is forgotten. */
export class Decisions {
  readonly #most: number;
  readonly #decisions = new AgingMap<PlacementDecision>();

  constructor(most: number = MOST) {
    this.#most = most;
  }

  add(device: string, decision: PlacementDecision): void {
    this.#decisions.set(device, decision);
    if (this.#decisions.size > this.#most) this.#decisions.delete(this.#decisions.oldest!);
  }

  of(device: string): PlacementDecision | undefined {
    return this.#decisions.get(device);
  }
}
