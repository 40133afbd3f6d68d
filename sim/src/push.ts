/** The vendors' push service: it delays, reorders, asks to come again, and forgets devices. */
import { decodeBase64Url, decodeWake, type Hint } from "@beckon/protocol";

import type {
  PushItem,
  PushOutcome,
  PushProvider,
} from "../../packages/server/src/push/provider.ts";
import type { DeviceName } from "./history.ts";
import type { Random } from "../../packages/cli/src/replay/xoshiro.ts";
import type { Process } from "./scheduler.ts";
import { hintOf } from "./seal.ts";
import type { World } from "./world.ts";

/** What the service delivers to. */
export interface Pushable {
  readonly name: DeviceName;
  push(data: unknown): void;
}

export class PushService {
  readonly #world: World;
  readonly #random: Random;
  readonly #phones = new Map<string, Pushable>();
  isAway = false;
  /** Share of pushes that it asks to send again. */
  retries = 0;
  /** Share of pushes that it takes and loses. */
  losses = 0;
  onGone: ((device: DeviceName) => void) | undefined;
  #tokens = 0;

  constructor(world: World) {
    this.#world = world;
    this.#random = world.random.fork("push service");
  }

  /** A new token for a device. */
  register(phone: Pushable): string {
    this.#tokens += 1;
    const token = `${phone.name}#${this.#tokens}`;
    this.#phones.set(token, phone);
    return token;
  }

  /** The service does not know the token any more. */
  unregister(token: string): void {
    this.#phones.delete(token);
  }

  setAway(isAway: boolean): void {
    if (this.isAway === isAway) return;
    this.isAway = isAway;
    this.#world.record({ kind: "push service", state: isAway ? "away" : "back" });
  }

  provider(process: Process): PushProvider {
    return {
      name: "dev",
      send: (items) =>
        new Promise((resolve) => {
          this.#world.after(this.#random.int(5, 80), () => {
            const outcomes = items.map((item) => this.#take(item));
            process.input(this.#random.int(1, 20), () => resolve(outcomes));
          });
        }),
      close: () => Promise.resolve(),
    };
  }

  #take({ token, body }: PushItem): PushOutcome {
    const device = token.slice(0, token.indexOf("#"));
    const { call, ended } = hintIn(body);
    const about = { call: call.length === 0 ? undefined : this.#world.nameOf(call), ended };
    if (this.isAway || this.#random.chance(this.retries)) {
      this.#world.record({ kind: "pushed", device, outcome: "retry", ...about });
      return { kind: "retry", after: this.#random.int(500, 3_000) };
    }
    const phone = this.#phones.get(token);
    if (phone === undefined) {
      this.#world.record({ kind: "pushed", device, outcome: "gone", ...about });
      this.onGone?.(device);
      return { kind: "gone" };
    }
    this.#world.record({ kind: "pushed", device, outcome: "sent", ...about });
    if (!this.#random.chance(this.losses)) {
      // Two pushes may well overtake each other.
      this.#world.after(this.#random.int(20, 2_500), () => phone.push(JSON.parse(body)));
    }
    return { kind: "sent" };
  }
}

/** The seal of the simulation hides nothing: who watches the push service sees what a push is for. */
function hintIn(body: string): Hint {
  const { beckon } = JSON.parse(body) as { readonly beckon: string };
  return hintOf(decodeWake(decodeBase64Url(beckon)!));
}
