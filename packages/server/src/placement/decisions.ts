/** What was decided last about each device, for who asks why it is where it is (B4). */
import type { DeviceDecision } from "../cluster/control-messages.ts";
import { AgingMap } from "../lib/aging-map.ts";

const MOST = 65_536;

/** The last decision of this server by device; at the bound the oldest is forgotten. */
export class Decisions {
  readonly #most: number;
  readonly #decisions = new AgingMap<DeviceDecision>();

  constructor(most: number = MOST) {
    this.#most = most;
  }

  add(device: string, decision: DeviceDecision): void {
    this.#decisions.set(device, decision);
    if (this.#decisions.size > this.#most) this.#decisions.delete(this.#decisions.oldest!);
  }

  of(device: string): DeviceDecision | undefined {
    return this.#decisions.get(device);
  }
}
