/**
 * A push service without a vendor, for trying things out and for tests: phones listen to it as they listen to theirs. It keeps
 * what comes for a phone that does not listen.
 */
import type { Clock } from "../lib/clock.ts";
import type { PushItem, PushOutcome, PushProvider } from "./provider.ts";

/** Pushes that wait for one phone; then the oldest is dropped, as vendors do. */
const WAITING = 32;
const PHONES = 1_000_000;

/** Takes the body of a push. */
export type PushHandler = (body: string) => void;

interface Phone {
  handler: PushHandler | undefined;
  readonly waiting: PushItem[];
  /** Its waiting pushes will be handed over at the end of this turn. */
  deferred: boolean;
}

export class DevPushService {
  readonly #clock: Clock;
  readonly #phones = new Map<string, Phone>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * The phone of `token` listens; what waited for it comes first. The token is known from now on. The answer ends the
   * listening, as a phone does that loses its network: pushes wait for it.
   */
  register(token: string, handler: PushHandler): () => void {
    const phone = this.#phone(token);
    phone.handler = handler;
    this.#handOver(phone);
    return () => {
      if (phone.handler === handler) phone.handler = undefined;
    };
  }

  /** The application was removed from the phone: its token is gone. */
  forget(token: string): void {
    const phone = this.#phones.get(token);
    if (phone === undefined) return;
    phone.handler = undefined;
    this.#phones.delete(token);
  }

  /** Handlers run in a later turn. */
  send(item: PushItem): PushOutcome {
    const phone = this.#phones.get(item.token);
    if (phone === undefined) return { kind: "gone" };
    phone.waiting.push(item);
    if (phone.waiting.length > WAITING) phone.waiting.shift();
    this.#handOver(phone);
    return { kind: "sent" };
  }

  #phone(token: string): Phone {
    const known = this.#phones.get(token);
    if (known !== undefined) return known;
    if (this.#phones.size >= PHONES) throw new RangeError(`more than ${PHONES} phones`);
    const phone: Phone = { handler: undefined, waiting: [], deferred: false };
    this.#phones.set(token, phone);
    return phone;
  }

  #handOver(phone: Phone): void {
    if (phone.deferred || phone.waiting.length === 0) return;
    phone.deferred = true;
    this.#clock.defer(() => {
      phone.deferred = false;
      const { handler } = phone;
      if (handler === undefined) return;
      const now = this.#clock.now();
      for (const item of phone.waiting.splice(0)) if (item.expires > now) handler(item.body);
    });
  }
}

/** Pushes through a service in this process. */
export function devProvider(service: DevPushService): PushProvider {
  return {
    name: "dev",
    send: (items) => Promise.resolve(items.map((item) => service.send(item))),
    close: () => Promise.resolve(),
  };
}
