import type { Millis } from "@beckon/protocol";

import { AgingMap } from "../lib/aging-map.ts";

interface Seat {
  readonly server: string;
  readonly until: Millis;
}

/** After which nobody waits for one who was sent to a server and is not seen there. */
const KEPT_MS: Millis = 5_000;
const MOST = 65_536;

/**
 * Seats at other servers for devices that were sent there and are not in the session table yet: so that those who come at the same
 * time are not all sent to the last seat. At the bound the oldest is given up.
 */
export class Seats {
  readonly #now: () => Millis;
  readonly #most: number;
  /** By device, in order of their end: all are kept for equally long. */
  readonly #seats = new AgingMap<Seat>();
  readonly #counts = new Map<string, number>();

  /** `now`: monotonic. */
  constructor(now: () => Millis, most: number = MOST) {
    this.#now = now;
    this.#most = most;
  }

  /** In place of a seat that the device had. */
  reserve(device: string, server: string): void {
    this.release(device);
    if (this.#seats.size >= this.#most) this.release(this.#seats.oldest!);
    this.#seats.set(device, { server, until: this.#now() + KEPT_MS });
    this.#counts.set(server, this.at(server) + 1);
  }

  /** The device was seen, here or elsewhere. */
  release(device: string): void {
    const seat = this.#seats.get(device);
    if (seat === undefined) return;
    this.#seats.delete(device);
    const left = this.#counts.get(seat.server)! - 1;
    if (left === 0) this.#counts.delete(seat.server);
    else this.#counts.set(seat.server, left);
  }

  /** Where the device is expected; undefined: nowhere, or no longer. */
  of(device: string): string | undefined {
    this.#expire();
    return this.#seats.get(device)?.server;
  }

  at(server: string): number {
    if (this.#seats.size > 0) this.#expire();
    return this.#counts.get(server) ?? 0;
  }

  #expire(): void {
    const now = this.#now();
    for (let oldest = this.#seats.oldest; oldest !== undefined; oldest = this.#seats.oldest) {
      if (this.#seats.get(oldest)!.until > now) return;
      this.release(oldest);
    }
  }
}
