/** The application's backend: it sends as a named service through any server, and repeats under the same id until it is answered. */
import { uuidv7, type WakeClass } from "@beckon/protocol";

import type { MessageName } from "./history.ts";
import type { Random } from "../../packages/cli/src/replay/xoshiro.ts";
import { EPOCH } from "./scheduler.ts";
import type { SimServer } from "./server.ts";
import type { World } from "./world.ts";

/** As which it sends. */
const SERVICE = "service";
/** How long it waits for an answer, and before it sends again. */
const PATIENCE_MS = 10_000;
const PAUSE_MS = 700;

const encoder = new TextEncoder();

export class Backend {
  readonly #world: World;
  readonly #random: Random;
  /** A server that can be reached. */
  readonly #pick: () => SimServer | undefined;
  #unanswered = 0;

  constructor(world: World, pick: () => SimServer | undefined) {
    this.#world = world;
    this.#random = world.random.fork("backend");
    this.#pick = pick;
  }

  get isIdle(): boolean {
    return this.#unanswered === 0;
  }

  send(to: string, message: MessageName, wake: WakeClass): void {
    const device = `${SERVICE}/backend`;
    this.#world.record({ kind: "sent", message, device, to, wake });
    this.#unanswered += 1;
    const id = uuidv7(EPOCH + Math.floor(this.#world.now), (bytes) => this.#random.fill(bytes));
    this.#try(to, message, wake, id);
  }

  #try(to: string, message: MessageName, wake: WakeClass, id: Uint8Array): void {
    const { now } = this.#world;
    let isOver = false;
    const again = (): void => {
      if (isOver) return;
      isOver = true;
      this.#world.after(PAUSE_MS, () => this.#try(to, message, wake, id));
    };
    const server = this.#pick();
    if (server === undefined) return again();
    this.#world.after(PATIENCE_MS, again);
    const device = `${SERVICE}/backend`;
    this.#world.record({ kind: "transmitted", message, device });
    this.#world.transmitted(message, id);
    const payload = encoder.encode(message);
    server.sendAsService(
      SERVICE,
      { type: "send", id, to, n: 0, prev: 0, payload, wake, preview: "", ends: new Uint8Array() },
      ({ status, route }) => {
        this.#world.record({ kind: "acked", message, device, server: server.name, status, route });
        if (isOver || this.#world.now - now > PATIENCE_MS) return;
        isOver = true;
        this.#unanswered -= 1;
        this.#world.record({ kind: "confirmed", message, device });
      },
      again,
    );
  }
}
