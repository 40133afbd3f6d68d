/** The demo's four phones, in this process, while no page brings them. */
import { HOMES, PEOPLE, type Person, SLEEPER } from "@beckon/console/cast";
import { createPhone, type Phone } from "@beckon/console/phone";
import type { PhoneReport } from "@beckon/console/stage";
import type { DevPushService } from "@beckon/server";

import { mintDevToken } from "../token.ts";
import { within } from "../within.ts";
import type { PhonesOwner } from "./app.ts";

/** From the push until the tap, and until he sleeps again when nothing more comes, ms. */
const TAP_MS = 1_000;
const SLEEP_MS = 20_000;
const ANSWER = "I am here now. What is it?";
/** A page that is loaded again is back by then, ms. */
const BACK_MS = 1_000;
const CONNECT_MS = 5_000;
const CLOSE_MS = 2_000;
/** Until the servers have heard that he sleeps, ms. */
const HEARD_MS = 10;
const HEARD_TRIES = 50;

export interface PhonesParts {
  readonly pushes: DevPushService;
  /** URLs of the servers, by their names' order. */
  readonly urls: () => readonly string[];
  /** As the servers say. */
  readonly isConnected: (user: string) => boolean;
  readonly report: (report: PhoneReport) => void;
  readonly moved: (where: "page" | "here") => void;
}

interface Held {
  readonly phone: Phone;
  readonly timers: Set<Timer>;
}

/** Brings the phones, and hands them over to a page that brings its own. */
export class Phones implements PhonesOwner {
  readonly #parts: PhonesParts;
  #held: Held[] = [];
  #page: { readonly name: string; readonly taken: () => void } | undefined;
  #back: Timer | undefined;
  #working: Promise<void> = Promise.resolve();

  constructor(parts: PhonesParts) {
    this.#parts = parts;
  }

  /** Resolves when each is where it belongs. */
  start(): Promise<void> {
    return this.#next(async () => {
      if (this.#page !== undefined || this.#held.length > 0) return;
      await Promise.all(PEOPLE.map((user) => this.#bring(user)));
    });
  }

  stop(): Promise<void> {
    clearTimeout(this.#back);
    return this.#putAway();
  }

  async take(page: string, taken: () => void): Promise<void> {
    clearTimeout(this.#back);
    const before = this.#page;
    this.#page = { name: page, taken };
    if (before === undefined) this.#parts.moved("page");
    else if (before.name !== page) before.taken();
    await this.#putAway();
  }

  release(page: string): void {
    if (this.#page?.name !== page) return;
    clearTimeout(this.#back);
    this.#back = setTimeout(() => {
      this.#page = undefined;
      this.#parts.moved("here");
      void this.start();
    }, BACK_MS);
  }

  #next(work: () => Promise<void>): Promise<void> {
    this.#working = this.#working.then(work, work);
    return this.#working;
  }

  #putAway(): Promise<void> {
    return this.#next(async () => {
      const held = this.#held;
      this.#held = [];
      for (const { timers } of held) for (const timer of timers) clearTimeout(timer);
      const closed = Promise.all(held.map(({ phone }) => phone.close()));
      await within(CLOSE_MS, closed);
    });
  }

  async #bring(user: Person): Promise<void> {
    const home = HOMES[user];
    const sleeps = user === SLEEPER;
    const { pushes, urls, report } = this.#parts;
    const timers = new Set<Timer>();
    const later = (ms: number, task: () => void): Timer => {
      const timer = setTimeout(() => {
        timers.delete(timer);
        task();
      }, ms);
      timers.add(timer);
      return timer;
    };
    const online = Promise.withResolvers<void>();
    let last: string | undefined;
    let bedtime: Timer | undefined;
    const tire = (): void => {
      clearTimeout(bedtime);
      bedtime = later(SLEEP_MS, () => void phone.sleep());
    };
    const phone = createPhone({
      user,
      servers: () => [...urls().slice(home), ...urls().slice(0, home)],
      token: () => Promise.resolve(mintDevToken(user)),
      listen: (token, handler) => pushes.register(token, handler),
      events: {
        state(state, server) {
          if (server !== undefined) last = server;
          if (state === "connected") online.resolve();
          if (state === undefined) report({ kind: "asleep", user, last });
        },
        message({ from, to }) {
          if (!sleeps || to !== user) return;
          tire();
          phone.send(from, ANSWER).catch(() => undefined);
        },
        pushed: () => void later(TAP_MS, () => phone.tap()),
        woke(server, ms) {
          report({ kind: "woke", user, server, ms });
          if (sleeps) tire();
        },
      },
    });
    this.#held.push({ phone, timers });
    phone.wake();
    await within(CONNECT_MS, online.promise);
    if (!sleeps) return;
    await phone.sleep();
    for (let tries = 0; tries < HEARD_TRIES && this.#parts.isConnected(user); tries++) {
      await Bun.sleep(HEARD_MS);
    }
  }
}
