import { AgingMap } from "../lib/aging-map.ts";

/** Devices that were connected a moment ago, the most recent ones. */
export class Departures {
  readonly #limit: number;
  /** Time of the departure, by device. */
  readonly #at = new AgingMap<number>();

  /** At its bound the oldest departure is forgotten. */
  constructor(limit = 65_536) {
    this.#limit = limit;
  }

  add(user: string, device: string, now: number): void {
    this.#at.set(deviceKey(user, device), now);
    if (this.#at.size > this.#limit) this.#at.delete(this.#at.oldest!);
  }

  forget(user: string, device: string): void {
    this.#at.delete(deviceKey(user, device));
  }

  /** When the device departed last; undefined: not known. */
  of(user: string, device: string): number | undefined {
    return this.#at.get(deviceKey(user, device));
  }
}

/** Ids have no control characters. */
export function deviceKey(user: string, device: string): string {
  return `${user}\n${device}`;
}
