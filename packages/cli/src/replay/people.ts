/**
 * When devices are opened and put away, by the trace's clock, in milliseconds: the same whether servers are real or a model.
 *
 * * `always-on`: a device stays connected for 6 h in the mean (exponential), then is gone for 60 s in the mean, or until a push wakes it.
 * * `long`, `short`: it stays until 6 h, or 5 min, after the last message that it sent or received.
 * * A push wakes a device after 2 s.
 */
import { Timers } from "./timers.ts";

export type Mode = "always-on" | "long" | "short";
export const MODES: readonly Mode[] = ["always-on", "long", "short"];

const CONNECTED_MS = 6 * 3_600_000;
const GONE_MS = 60_000;
const WAKE_MS = 2_000;
/** By the mode. */
export const IDLE_MS: Readonly<Record<"long" | "short", number>> = {
  long: 6 * 3_600_000,
  short: 300_000,
};

export class People {
  readonly #mode: Mode;
  readonly #random: { exponential(mean: number): number };
  readonly #timers: Timers;
  readonly #isOn: Uint8Array;

  constructor(devices: number, mode: Mode, random: { exponential(mean: number): number }) {
    this.#mode = mode;
    this.#random = random;
    this.#timers = new Timers(devices);
    this.#isOn = new Uint8Array(devices);
  }

  /** When the first is due to go or to come; infinity: nobody is. */
  get next(): number {
    return this.#timers.next;
  }

  /** Who that is. */
  get first(): number {
    return this.#timers.first;
  }

  isOn(device: number): boolean {
    return this.#isOn[device] === 1;
  }

  connected(device: number, now: number): void {
    this.#isOn[device] = 1;
    const mode = this.#mode;
    const stay = mode === "always-on" ? this.#random.exponential(CONNECTED_MS) : IDLE_MS[mode];
    this.#timers.set(device, now + Math.ceil(stay));
  }

  gone(device: number, now: number): void {
    this.#isOn[device] = 0;
    const isBack = this.#mode === "always-on";
    this.#timers.set(
      device,
      isBack ? now + Math.ceil(this.#random.exponential(GONE_MS)) : Infinity,
    );
  }

  /** It has sent or received while it was connected. */
  active(device: number, now: number): void {
    if (this.#mode !== "always-on") this.#timers.set(device, now + IDLE_MS[this.#mode]);
  }

  /** While it was gone. */
  pushed(device: number, now: number): void {
    this.#timers.set(device, Math.min(this.#timers.due(device), now + WAKE_MS));
  }
}
